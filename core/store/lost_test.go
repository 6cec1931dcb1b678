package store

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/meridian-relay/meridian/core/shard"
)

// A store that lost one of its databases must not begin with an empty one: it would have
// forgotten its votes, and still be the member that gave them.
func TestLostFolder(t *testing.T) {
	for _, lost := range [][]string{{logName}, {stateName}, {logName, stateName}} {
		for _, empty := range []bool{false, true} {
			t.Run(fmt.Sprint(lost, empty), func(t *testing.T) {
				disk := vfs.NewMem()
				s, stop := run(t, testConfig(disk))
				mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
				mustWrite(t, s, &shard.Write{Replica: one, Hard: hard(9, 1, 4), Entries: entries(2, 4, 9), Sync: true})
				stop()
				for _, name := range lost {
					if err := disk.RemoveAll("/node/" + name); err != nil {
						t.Fatal(err)
					}
					if empty {
						if err := disk.MkdirAll("/node/"+name, 0o700); err != nil {
							t.Fatal(err)
						}
					}
				}
				s, err := Open(testConfig(disk))
				if err == nil {
					s.Close()
				}
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "shard replace n1") {
					t.Errorf("opened without %q: %v", lost, err)
				}
			})
		}
	}
}

// Files that end with .log look as if they could be deleted.
func TestLostWAL(t *testing.T) {
	disk := vfs.NewMem()
	s, stop := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	stop()
	for _, path := range files(t, disk, "/node/log", ".log") {
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(testConfig(disk))
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "no write-ahead log") {
		t.Errorf("opened without its write-ahead log: %v", err)
	}
}

// A first start that was cut short, at whatever write, is made up for by the next.
func TestFirstStartCutShort(t *testing.T) {
	for n := 0; ; n++ {
		disk := vfs.NewCrashableMem()
		var clone *vfs.MemFS
		writes := 0
		f := &faulty{fail: func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if writes++; writes == n+1 {
					clone = disk.CrashClone(vfs.CrashCloneCfg{})
				}
			}
			return nil
		}}
		f.on.Store(true)
		s, err := Open(testConfig(errorfs.Wrap(disk, f)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if clone == nil {
			if n < 10 {
				t.Errorf("there are %d moments only", n)
			}
			return
		}
		s, err = Open(testConfig(clone))
		if err != nil {
			t.Fatalf("cut short at write %d: %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A timer that fires late says nothing of the sync that began meanwhile.
func TestSlowOfAnother(t *testing.T) {
	told := 0
	w := newSlowness(&Store{cfg: Config{SlowAfter: time.Hour, Slow: func(time.Duration) { told++ }}})
	w.fire()
	w.begin()
	w.fire()
	w.end()
	if told > 0 {
		t.Error("a sync that just began was called slow")
	}
}

// in fails the test if f takes long.
func in(t *testing.T, f func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// A disk that fails while a store is opened, or closed, gives an error: whoever waits is not left
// waiting, and Pebble does not end the process.
func TestOpenAndCloseOnBadDisk(t *testing.T) {
	broken := errors.New("input/output error")
	for _, what := range []string{"MANIFEST", ".sst", ".log", "/state/", "/log/"} {
		disk := vfs.NewCrashableMem()
		f := &faulty{fail: func(op errorfs.Op) error {
			if strings.Contains(op.Path, what) && (isSync(op) || op.Kind == errorfs.OpFileWrite) {
				return broken
			}
			return nil
		}}
		cfg := testConfig(errorfs.Wrap(disk, f))
		t.Run("Close"+what, func(t *testing.T) {
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			b := s.Begin(one)
			s.replicas[one] = newReplica()
			b.Set([]byte("\x11k"), []byte("v"))
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			f.on.Store(true)
			defer f.on.Store(false)
			in(t, func() {
				if err := s.Close(); what != ".log" && what != "/log/" && !errors.Is(err, ErrDisk) {
					t.Errorf("closed with %v", err)
				}
			})
		})
		t.Run("Open"+what, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			cfg := testConfig(disk)
			s, _ := run(t, cfg)
			mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
			mustWrite(t, s, &shard.Write{Replica: one, Entries: entries(2, 4, 1), Sync: true})
			cfg.FS = errorfs.Wrap(crashed(disk), f)
			f.on.Store(true)
			defer f.on.Store(false)
			in(t, func() {
				s, err := Open(cfg)
				if err == nil {
					if what == "MANIFEST" {
						t.Error("opened")
					}
					f.on.Store(false)
					s.Close()
				} else if !errors.Is(err, ErrDisk) {
					t.Errorf("opened with %v", err)
				}
			})
		})
	}
}

// A chunk of a leader that trimmed may span much that is still here: it is not gathered.
func TestKeepIsBounded(t *testing.T) {
	s, _ := run(t, testConfig(vfs.NewMem()))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	b := s.Begin(one)
	for i := range 64 {
		b.Set(fmt.Appendf(nil, "\x11%06d", i), bytes.Repeat([]byte{byte(i)}, 1<<20))
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage(one, shard.Place{Index: 100, Term: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if kept, err := st.Keep(nil, nil, 1); kept || err != nil {
		t.Fatal(kept, err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 40<<20 {
		t.Errorf("%d MiB were read to compare a chunk", n>>20)
	}
}
