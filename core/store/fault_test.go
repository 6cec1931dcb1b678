package store

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/meridian-relay/meridian/core/shard"
)

var one = shard.Replica{Shard: 1, Number: 1}

// faulty is a file system that fails, or waits, while asked to.
type faulty struct {
	fail func(errorfs.Op) error // nil: nothing fails
	on   atomic.Bool
}

func (f *faulty) String() string { return "faulty" }

func (f *faulty) MaybeError(op errorfs.Op) error {
	if !f.on.Load() {
		return nil
	}
	return f.fail(op)
}

func isWAL(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

// Whatever fails, what was done before is there, what failed is never done, and the error says
// what it was.
func TestDiskErrors(t *testing.T) {
	broken := errors.New("input/output error")
	for _, c := range []struct {
		name  string
		fails func(errorfs.Op) bool
		flush bool
	}{
		{"SyncLog", func(op errorfs.Op) bool { return isWAL(op) && isSync(op) }, false},
		{"WriteLog", func(op errorfs.Op) bool { return isWAL(op) && op.Kind == errorfs.OpFileWrite }, false},
		{"WriteState", func(op errorfs.Op) bool {
			return strings.Contains(op.Path, "/state/") && op.Kind == errorfs.OpFileWrite
		}, true},
		{"SyncState", func(op errorfs.Op) bool { return strings.Contains(op.Path, "/state/") && isSync(op) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			f := &faulty{fail: func(op errorfs.Op) error {
				if c.fails(op) {
					return broken
				}
				return nil
			}}
			s, _ := run(t, testConfig(errorfs.Wrap(disk, f)))
			mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
			mustWrite(t, s, &shard.Write{Replica: one, Entries: entries(2, 4, 1), Sync: true})
			f.on.Store(true)
			w := &shard.Write{Replica: one, Entries: entries(5, 6, 1), Sync: true}
			if c.flush {
				b := s.Begin(one)
				b.Set([]byte("\x11k"), []byte("v"))
				if err := b.Commit(); err != nil {
					t.Fatal(err)
				}
				s.cfg.FlushAfter = 1
				if err := s.flushDue(); err != nil {
					t.Fatal(err)
				}
				<-s.Failed()
			} else if err := write(t, s, w); err == nil {
				t.Fatal("a write that was not synced is done")
			}
			if err := s.Err(); !errors.Is(err, ErrDisk) || !errors.Is(err, broken) {
				t.Fatalf("failed with %v", err)
			}
			if err := s.Begin(one).Commit(); err == nil {
				t.Error("a batch is committed after the failure")
			}
			s, _ = run(t, testConfig(crashed(disk)))
			info, err := s.Info(one)
			if err != nil || info.Last.Index != 4 {
				t.Fatalf("after it the log ends with %v, %v", info.Last, err)
			}
		})
	}
}

// A full disk gives up the ballast, and the write that found it full is done.
func TestBallast(t *testing.T) {
	disk := vfs.NewMem()
	f := &faulty{fail: func(op errorfs.Op) error {
		if !isWAL(op) || op.Kind != errorfs.OpFileWrite {
			return nil
		}
		if _, err := disk.Stat("/node/" + ballastName); err == nil {
			return syscall.ENOSPC
		}
		return nil
	}}
	cfg := testConfig(errorfs.Wrap(disk, f))
	cfg.Ballast = 1 << 20
	s, _ := run(t, cfg)
	s.makeBallast(1 << 40)
	if info, err := disk.Stat("/node/" + ballastName); err != nil || info.Size() != 1<<20 {
		t.Fatalf("ballast: %v, %v", info, err)
	}
	f.on.Store(true)
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	if _, err := disk.Stat("/node/" + ballastName); err == nil {
		t.Error("the ballast is still there")
	}
}

// usage is a disk as full as it is told.
type usage struct {
	vfs.FS
	free atomic.Uint64 // percent
}

func (u *usage) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: u.free.Load(), UsedBytes: 100 - u.free.Load(), TotalBytes: 100}, nil
}

func TestSpace(t *testing.T) {
	disk := &usage{FS: vfs.NewMem()}
	cfg := testConfig(disk)
	cfg.Ballast = 4096
	said := ""
	cfg.ReadOnly = func(on bool) {
		if on {
			said += "full "
		} else {
			said += "room "
		}
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		free    uint64
		said    string
		ballast bool
	}{
		{50, "", true}, {11, "", true}, {9, "full ", true}, {11, "full ", true}, {1, "full ", false},
		{11, "full ", false}, {12, "full room ", true},
	} {
		disk.free.Store(c.free)
		s.lookAtSpace()
		_, err := disk.Stat("/node/" + ballastName)
		if said != c.said || (err == nil) != c.ballast {
			t.Fatalf("at %d %%: said %q, ballast %t; want %q, %t", c.free, said, err == nil, c.said, c.ballast)
		}
	}
}

// A sync that hangs is told while it hangs.
func TestSlowSync(t *testing.T) {
	hang := make(chan struct{})
	f := &faulty{fail: func(op errorfs.Op) error {
		if isWAL(op) && isSync(op) {
			<-hang
		}
		return nil
	}}
	cfg := testConfig(errorfs.Wrap(vfs.NewMem(), f))
	slow := make(chan time.Duration, 16)
	cfg.SlowAfter = 20 * time.Millisecond
	cfg.Slow = func(d time.Duration) { slow <- d }
	s, _ := run(t, cfg)
	f.on.Store(true)
	done := make(chan struct{})
	s.Submit(&shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true}, func() { close(done) })
	if d := <-slow; d < cfg.SlowAfter {
		t.Errorf("told after %v", d)
	}
	select {
	case <-done:
		t.Error("done while the sync hangs")
	default:
	}
	close(hang)
	<-done
}

// A write that waits for the disk to catch up is told while it waits: nothing of it is being synced.
func TestSlowWrite(t *testing.T) {
	hang := make(chan struct{})
	f := &faulty{fail: func(op errorfs.Op) error {
		if strings.Contains(op.Path, "/"+logName+"/") && strings.HasSuffix(op.Path, ".sst") {
			<-hang
		}
		return nil
	}}
	cfg := testConfig(errorfs.Wrap(vfs.NewMem(), f))
	slow := make(chan time.Duration, 1<<10)
	cfg.LogMemory, cfg.SlowAfter = 256<<10, 20*time.Millisecond
	cfg.Slow = func(d time.Duration) { slow <- d }
	s, _ := run(t, cfg)
	defer close(hang)
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	f.on.Store(true)
	late := time.After(10 * time.Second)
	for n := uint64(2); ; n++ {
		list := entries(n, n, 1)
		list[0].Data = make([]byte, 64<<10)
		done := make(chan struct{})
		s.Submit(&shard.Write{Replica: one, Entries: list, Sync: true}, func() { close(done) })
		select {
		case <-done:
		case d := <-slow:
			if d < cfg.SlowAfter {
				t.Errorf("told after %v", d)
			}
			return
		case <-late:
			t.Fatalf("nothing was told of write %d, which waits", n)
		}
	}
}

// Each refusal has a name, and says what was found, what was wanted and what to do.
func TestOpenRefuses(t *testing.T) {
	made := func(t *testing.T) *vfs.MemFS {
		disk := vfs.NewMem()
		_, stop := run(t, testConfig(disk))
		stop()
		return disk
	}
	put := func(disk *vfs.MemFS, name, content string) {
		if err := writeFile(disk, name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		with func(t *testing.T, disk *vfs.MemFS, cfg *Config)
		want error
		says string
	}{
		{"Foreign", func(t *testing.T, disk *vfs.MemFS, cfg *Config) {
			disk.RemoveAll("/node")
			disk.MkdirAll("/node", 0o755)
			put(disk, "/node/letter.txt", "dear")
		}, ErrForeign, "letter.txt"},
		{"Identity", func(t *testing.T, disk *vfs.MemFS, cfg *Config) {
			put(disk, "/node/"+identityName, "fleet f\n")
		}, ErrForeign, identityName},
		{"Newer", func(t *testing.T, disk *vfs.MemFS, cfg *Config) {
			put(disk, "/node/"+identityName, "meridian store 2\nsomething else\n")
		}, ErrNewer, "format 2, this program reads up to 1"},
		{"Fleet", func(t *testing.T, disk *vfs.MemFS, cfg *Config) { cfg.Fleet = "g" }, ErrFleet, `"f", wanted "g"`},
		{"Node", func(t *testing.T, disk *vfs.MemFS, cfg *Config) { cfg.Node = "n2" }, ErrNode, `"n1", wanted "n2"`},
		{"InUse", func(t *testing.T, disk *vfs.MemFS, cfg *Config) { run(t, *cfg) }, ErrInUse, "stop that one"},
		{"Damaged", func(t *testing.T, disk *vfs.MemFS, cfg *Config) {
			flipAll(t, disk, "/node/state", ".sst")
		}, ErrDamaged, "shard replace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := made(t)
			s, stop := run(t, testConfig(disk))
			mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
			stop()
			cfg := testConfig(disk)
			c.with(t, disk, &cfg)
			s, err := Open(cfg)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v; want %v, with %q", err, c.want, c.says)
			}
			if c.name == "Foreign" {
				if _, err := disk.Stat("/node/" + lockName); err == nil {
					t.Error("a foreign folder was written to")
				}
			}
		})
	}
}

// A store that is refused is as it was: the right node opens it again.
func TestRefusalLeavesStore(t *testing.T) {
	disk := vfs.NewMem()
	s, stop := run(t, testConfig(disk))
	id := s.Identity()
	stop()
	cfg := testConfig(disk)
	cfg.Node = "other"
	if _, err := Open(cfg); !errors.Is(err, ErrNode) {
		t.Fatal(err)
	}
	s, _ = run(t, testConfig(disk))
	if s.Identity() != id || id.Store == (shard.StoreID{}) {
		t.Errorf("identity %v, was %v", s.Identity(), id)
	}
}

// Run ends when its context does, with everything that was submitted done.
func TestRunEnds(t *testing.T) {
	s, err := Open(testConfig(vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	s.Submit(&shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true}, func() { done.Add(1) })
	for i := uint64(2); i < 500; i++ {
		s.Submit(&shard.Write{Replica: one, Entries: entries(i, i, 1), Sync: i%2 == 0}, func() { done.Add(1) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil || done.Load() != 499 {
		t.Errorf("ended with %v, %d of 499 done", err, done.Load())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// files lists a folder's files whose names end so, oldest first.
func files(t *testing.T, fsys vfs.FS, dir, end string) (paths []string) {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, end) {
			paths = append(paths, fsys.PathJoin(dir, name))
		}
	}
	return paths
}

func content(t *testing.T, fsys vfs.FS, path string) []byte {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flip changes one byte of a file.
func flip(t *testing.T, fsys vfs.FS, path string, at int) {
	t.Helper()
	b := content(t, fsys, path)
	b[at] ^= 0x40
	if err := writeFile(fsys, path, b); err != nil {
		t.Fatal(err)
	}
}

func flipAll(t *testing.T, fsys vfs.FS, dir, end string) {
	t.Helper()
	list := files(t, fsys, dir, end)
	if len(list) == 0 {
		t.Fatalf("no %s in %s", end, dir)
	}
	for _, path := range list {
		for at := 0; at < len(content(t, fsys, path)); at += 13 {
			flip(t, fsys, path, at)
		}
	}
}

// Whoever freezes a state does not wait for a disk that hangs below one that is staged.
func TestFreezeWaitsForNoStaging(t *testing.T) {
	hang, hung := make(chan struct{}), make(chan struct{}, 64)
	f := &faulty{fail: func(op errorfs.Op) error {
		if strings.Contains(op.Path, "/"+stagingName+"/") {
			hung <- struct{}{}
			<-hang
		}
		return nil
	}}
	s, _ := run(t, testConfig(errorfs.Wrap(vfs.NewMem(), f)))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	f.on.Store(true)
	staged := make(chan error, 1)
	go func() {
		_, err := s.Stage(shard.Replica{Shard: 1, Number: 2}, shard.Place{Index: 8, Term: 3})
		staged <- err
	}()
	<-hung
	frozen := make(chan error, 1)
	go func() {
		x, err := s.Freeze(one)
		if err == nil {
			x.Close()
		}
		frozen <- err
	}()
	select {
	case err := <-frozen:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the staging")
	}
	close(hang)
	if err := <-staged; err != nil {
		t.Error(err)
	}
}
