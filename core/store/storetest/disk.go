// Package storetest has a disk in memory that loses its power, fails and hangs, for tests of those
// who stand on a store.
package storetest

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/meridian-relay/meridian/core/store"
)

// A Disk is a file system in memory. Methods are safe for concurrent use.
type Disk struct {
	mem  *vfs.MemFS
	face store.FS

	mu   sync.Mutex
	err  error
	slow time.Duration
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return newDisk(vfs.NewCrashableMem()) }

func newDisk(mem *vfs.MemFS) *Disk {
	d := &Disk{mem: mem}
	d.face = errorfs.Wrap(mem, d)
	return d
}

// FS is what a store is given.
func (d *Disk) FS() store.FS { return d.face }

// CutPower returns what the disk has after a power cut at this moment: all that was synced, and
// of the rest about so many percent of its blocks. The disk itself goes on, as what nobody reads
// any more, and is as slow as it was.
func (d *Disk) CutPower(percent int, rng *rand.Rand) *Disk {
	after := newDisk(d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
	d.mu.Lock()
	defer d.mu.Unlock()
	after.slow = d.slow
	return after
}

// FailSyncs has every sync of a log fail from now on; nil: none.
func (d *Disk) FailSyncs(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// SlowSyncs has every sync of a log take so much longer from now on.
func (d *Disk) SlowSyncs(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = by
}

func (d *Disk) String() string { return "disk" }

// MaybeError implements errorfs.Injector.
func (d *Disk) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
	default:
		return nil
	}
	if !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	d.mu.Lock()
	slow, err := d.slow, d.err
	d.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	return err
}

var _ errorfs.Injector = (*Disk)(nil)
