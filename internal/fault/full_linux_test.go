package fault

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// fullWithin is the longest that a node without any room goes on: it writes into what it has.
const fullWithin = 60 * time.Second

// nearlyFull waits until a node says that it refuses publishes.
func (f *fleet) nearlyFull(t *testing.T, x *node) {
	t.Helper()
	for late := time.Now().Add(away); f.metric(x, "store_read_only") != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%s takes publishes on a disk that is nearly full", x.name)
		}
	}
}

// TestFullDisk fills the disk of a leader, first nearly, then wholly, under load. It needs to be
// root, for a file system of its own.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := syscall.Mount("meridian", mount, "tmpfs", 0, "size=512m"); err != nil {
		t.Skipf("left out: a full disk wants a tmpfs of its own, as root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	f := newFleet(t, 3) // ends before the file system goes
	x := f.leading(victim)
	x.kill()
	small := filepath.Join(mount, "data")
	f.must(copyDir(x.data, small))
	x.data, x.config["data"] = small, small
	f.write(f.file(x.name+".json"), x.config)
	f.must(x.start())

	// fill leaves so many bytes of the disk.
	ballast := filepath.Join(mount, "filled")
	fill := func(left int) {
		t.Helper()
		file, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		f.must(err)
		defer file.Close()
		zeros := make([]byte, 1<<20)
		for {
			var s syscall.Statfs_t
			f.must(syscall.Statfs(mount, &s))
			free := int(s.Bavail) * int(s.Bsize)
			if free <= left {
				return
			}
			if _, err := file.Write(zeros[:min(len(zeros), free-left)]); errors.Is(err, syscall.ENOSPC) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name        string
		left, bytes int
	}{{"nearly", 30 << 20, 0}, {"wholly", 0, 40_000}} {
		f.within(c.name, func(t *testing.T) {
			f.heal()
			l := newLoad(t, f, "full-"+c.name, loadConfig{bytes: c.bytes})
			l.healthy()
			f.transferTo(victim, x)
			if c.left > 0 {
				fill(c.left)
				f.nearlyFull(t, x)
				time.Sleep(2 * away)
				if code, ended := x.ended(0); ended {
					t.Errorf("%s ended with code %d: %s", x.name, code, x.tail(2))
				}
			} else {
				// What the node gives back, its ballast among it, is taken too.
				code, ended := 0, false
				for late := time.Now().Add(fullWithin); !ended && time.Now().Before(late); {
					fill(c.left)
					code, ended = x.ended(100 * time.Millisecond)
				}
				if !ended || code != exitDisk {
					t.Errorf("without any room %s ended: %t, with code %d, want %d: %s", x.name, ended, code, exitDisk, x.tail(2))
				}
			}
			f.must(os.Remove(ballast))
			f.heal()
			l.healthy()
			l.judge()
		})
	}
}
