package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Errors of Open, and of a store that failed. A command gives each an exit code.
var (
	// ErrForeign: the folder has something else in it.
	ErrForeign = errors.New("not a store's folder")
	// ErrNewer: a newer version of this program wrote it.
	ErrNewer = errors.New("store of a newer version")
	// ErrFleet: it belongs to another fleet.
	ErrFleet = errors.New("store of another fleet")
	// ErrNode: it belongs to another node.
	ErrNode = errors.New("store of another node")
	// ErrInUse: another process uses it.
	ErrInUse = errors.New("store in use")
	// ErrDamaged: what was read is not what was written.
	ErrDamaged = errors.New("store is damaged")
	// ErrDisk: the disk refused to read, write or sync.
	ErrDisk = errors.New("disk failed")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// errNamed marks an error that says already what to do.
var errNamed = errors.New("")

// fault names what an error of Pebble or of the file system means, and what to do.
func (s *Store) fault(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDisk) || errors.Is(err, ErrClosed) || errors.Is(err, errNamed):
		return err
	case errors.Is(err, ErrDamaged) || pebble.IsCorruptionError(err) || errors.Is(err, pebble.ErrDBDoesNotExist):
		return fmt.Errorf("%w: %s: %s: %w%w; the other replicas have what it had: start the node on "+
			"an empty folder, then run \"meridian shard replace %s\"",
			ErrDamaged, s.cfg.Dir, doing, err, errNamed, s.cfg.Node)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %s: %s: %w; make room on the disk and start again", ErrDisk, s.cfg.Dir, doing, err)
	default:
		return fmt.Errorf("%w: %s: %s: %w; check the disk before starting again", ErrDisk, s.cfg.Dir, doing, err)
	}
}

// fail ends the store: what is not durable now will not be. The first error is kept.
func (s *Store) fail(doing string, err error) error {
	err = s.fault(doing, err)
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
		close(s.failed)
	}
	s.mu.Unlock()
	if first {
		s.cfg.Logger.Error("store failed", "err", err)
	}
	return err
}

// Failed is closed when the store has failed: the process has to end, and Err says why.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err returns why the store failed, or nil.
func (s *Store) Err() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.err
}
