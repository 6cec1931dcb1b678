package fault

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// replaceWithin is the longest that a small node takes to get its replicas back.
const replaceWithin = 60 * time.Second

// replace gives a node with a new disk its replicas back: every leader is asked until all of
// them are done.
func (f *fleet) replace(x *node) {
	f.t.Helper()
	var last string
	for deadline := time.Now().Add(replaceWithin); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		last = ""
		f.among(x, func(other *node) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			list, err := other.api.Replace(ctx, shard.Node(x.name))
			if err != nil {
				last += fmt.Sprintf("%s: %v; ", other.name, err)
			}
			for _, r := range list {
				last += fmt.Sprintf("%+v; ", r)
			}
		})
		if f.settled(x) {
			return
		}
	}
	f.t.Fatalf("%s has not its replicas back after %v: %s", x.name, replaceWithin, last)
}

// settled reports whether every shard has the replica that x has now as a voter that lacks
// little, and no other one of x.
func (f *fleet) settled(x *node) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for id := shard.ID(1); id <= 3*shards; id++ {
		l := f.leader(ctx, id)
		if l == nil {
			return false
		}
		s, err := l.api.Shard(ctx, id)
		if err != nil {
			return false
		}
		own, err := x.api.Shard(ctx, id)
		if err != nil {
			return false
		}
		var voters int
		for _, m := range s.Members {
			if m.Node != shard.Node(x.name) {
				continue
			}
			if m.Number != own.Number || m.Role != "voter" || own.Applied+1000 < s.Applied {
				return false
			}
			voters++
		}
		if voters != 1 {
			return false
		}
	}
	return true
}

// copyDir copies a node's folder, which must not be in use.
func copyDir(from, to string) error { return os.CopyFS(to, os.DirFS(from)) }

// newest returns the newest file of a log of writes in a node's folder.
func newest(dir string) (string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(dir, "log"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".log") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no log of writes in %s: %w", dir, err)
	}
	slices.Sort(files) // numbers of equal length
	return files[len(files)-1], nil
}

// used returns how many bytes of a file are in use: a log that is used again has an old tail,
// one that was made large beforehand zeros.
func used(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

// flip flips a bit of a file, at a share of what is used of it.
func flip(t *testing.T, path string, share float64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := used(b)
	if n < 100 {
		t.Fatalf("%s has %d bytes in use: too few to spoil", path, n)
	}
	b[min(int(float64(n)*share), n-8)] ^= 0x10
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Exit codes of a node that refuses its folder.
const (
	exitForeign = 21
	exitDamaged = 22
	exitDisk    = 23
	exitEmpty   = 24
)

// refuses starts a node that must not serve, but end with a code.
func (f *fleet) refuses(x *node, code int) {
	f.t.Helper()
	err := x.start()
	if err == nil {
		x.kill()
		f.t.Fatalf("%s serves", x.name)
	}
	if x.code != code {
		f.t.Errorf("exit code %d, want %d: %v", x.code, code, err)
	}
	f.t.Logf("it refuses: %v", err)
}

// TestDisks spoils the disk of one node of three, under load.
func TestDisks(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	disk := func(name string, do func(l *load, x *node)) {
		if t.Failed() {
			return // the fleet may not be whole
		}
		f.within(name, func(t *testing.T) {
			f.heal()
			l := newLoad(t, f, label(name), loadConfig{})
			l.healthy()
			do(l, f.follower(victim))
			f.heal()
			l.healthy()
			l.judge()
		})
	}
	// back lets a node come back over a disk that is no good any more: with an empty one, as new
	// members of its groups.
	back := func(l *load, x *node) {
		x.kill()
		f.must(os.RemoveAll(x.data))
		f.refuses(x, exitEmpty)
		f.must(x.start("--join"))
		l.healthy() // though this node has nothing, and edges may be linked to it
		f.replace(x)
	}
	// doubtful starts a node over a disk that was tampered with: it refuses, or ends as soon as it
	// finds out, and says that the disk is damaged; or it serves.
	doubtful := func(l *load, x *node) {
		if err := x.start(); err == nil {
			l.healthy()
			if _, ended := x.ended(2 * away); !ended {
				f.t.Logf("%s serves", x.name)
				return
			}
		}
		if x.code != exitDamaged {
			f.t.Errorf("exit code %d, want %d", x.code, exitDamaged)
		}
		f.t.Logf("it ended: %s", x.tail(1))
		back(l, x)
	}
	disk("wiped", back)
	disk("wiped, and begun as a new fleet", func(l *load, x *node) {
		x.kill()
		f.must(os.RemoveAll(x.data))
		f.must(x.start("--bootstrap"))
		l.healthy()
		time.Sleep(away)
		back(l, x)
	})
	disk("old", func(l *load, x *node) {
		x.kill()
		old := x.data + ".old"
		f.must(copyDir(x.data, old))
		f.must(x.start())
		l.healthy()
		time.Sleep(away)
		x.kill()
		f.must(os.RemoveAll(x.data))
		f.must(os.Rename(old, x.data))
		doubtful(l, x)
	})
	disk("flipped early", func(l *load, x *node) {
		time.Sleep(away / 2)
		x.kill()
		path, err := newest(x.data)
		f.must(err)
		flip(f.t, path, 0.5)
		doubtful(l, x)
	})
	disk("flipped last", func(l *load, x *node) {
		time.Sleep(away / 2)
		x.kill()
		path, err := newest(x.data)
		f.must(err)
		flip(f.t, path, 1)
		doubtful(l, x)
	})
	disk("of another node", func(l *load, x *node) {
		x.kill()
		other := f.leading(victim)
		other.kill()
		f.must(os.Rename(x.data, x.data+".own"))
		f.must(copyDir(other.data, x.data))
		f.must(other.start())
		f.refuses(x, exitForeign)
		f.must(os.RemoveAll(x.data))
		f.must(os.Rename(x.data+".own", x.data))
		f.must(x.start())
	})
	disk("wiped, and the leader killed meanwhile", func(l *load, x *node) {
		x.kill()
		f.must(os.RemoveAll(x.data))
		f.must(x.start("--join"))
		leader := f.leading(victim)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if _, err := leader.api.Replace(ctx, shard.Node(x.name)); err != nil {
			f.t.Log(err)
		}
		f.restart(leader, away/2)
		f.replace(x)
	})
}
