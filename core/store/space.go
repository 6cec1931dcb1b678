package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Shares of the disk, in percent of what a file system has for this process in all.
const (
	readOnlyBelow = 10 // publishes are refused
	ballastBelow  = 2  // the ballast is deleted
	writableFrom  = 12 // and all is well again
)

const maxBallast = 64 << 20

// space is how full the disk is.
type space struct {
	readOnly atomic.Bool

	mu      sync.Mutex
	ballast bool      // it is there
	failed  time.Time // when it could not be made
}

// ballastAgain is how long the store leaves it at that when no ballast can be made.
const ballastAgain = 10 * time.Minute

// watchSpace looks at the disk now and then.
func (s *Store) watchSpace(ctx context.Context) {
	t := time.NewTicker(s.cfg.Watch)
	defer t.Stop()
	for {
		s.lookAtSpace()
		select {
		case <-ctx.Done():
			return
		case <-s.failed:
			return
		case <-t.C:
		}
	}
}

// lookAtSpace does what the free space asks for. A file system that cannot tell is never full.
func (s *Store) lookAtSpace() {
	u, err := s.fs.GetDiskUsage(s.cfg.Dir)
	total := u.AvailBytes + u.UsedBytes
	if err != nil || total == 0 {
		return
	}
	free := 100 * float64(u.AvailBytes) / float64(total)
	switch {
	case free < ballastBelow:
		s.dropBallast()
	case free >= writableFrom:
		s.makeBallast(total)
	}
	switch readOnly := s.space.readOnly.Load(); {
	case !readOnly && free < readOnlyBelow:
		s.space.readOnly.Store(true)
		s.cfg.Logger.Warn("the disk is nearly full: publishes are refused until there is room",
			"dir", s.cfg.Dir, "free_percent", free)
		s.cfg.ReadOnly(true)
	case readOnly && free >= writableFrom:
		s.space.readOnly.Store(false)
		s.cfg.Logger.Info("the disk has room again", "dir", s.cfg.Dir, "free_percent", free)
		s.cfg.ReadOnly(false)
	}
}

// diskFull is called when a write found no room, which is tried again once after it.
func (s *Store) diskFull() { s.dropBallast() }

// dropBallast makes room for trimming and membership.
func (s *Store) dropBallast() {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if !s.space.ballast {
		return
	}
	s.space.ballast = false
	// Not by way of s.fs, which waits for diskFull to return.
	if err := s.cfg.FS.Remove(s.cfg.FS.PathJoin(s.cfg.Dir, ballastName)); err != nil {
		s.cfg.Logger.Error("ballast stays", "dir", s.cfg.Dir, "err", err)
		return
	}
	s.cfg.Logger.Warn("the disk is full: ballast deleted, so that trimming can go on; make room", "dir", s.cfg.Dir)
}

// makeBallast makes the ballast, if it is not there.
func (s *Store) makeBallast(total uint64) {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	size := s.cfg.Ballast
	if size == 0 {
		size = min(maxBallast, int64(total/100))
	}
	if s.space.ballast || size < 0 || !s.space.failed.IsZero() && time.Since(s.space.failed) < ballastAgain {
		return
	}
	path := s.cfg.FS.PathJoin(s.cfg.Dir, ballastName)
	if err := s.fillBallast(path, size); err != nil {
		s.cfg.FS.Remove(path)
		s.space.failed = time.Now()
		s.cfg.Logger.Warn("no ballast: a disk that is full leaves no room for trimming", "dir", s.cfg.Dir, "err", err, "again", ballastAgain)
		return
	}
	s.space.ballast = true
}

// fillBallast takes the ballast's room.
func (s *Store) fillBallast(path string, size int64) error {
	f, err := s.cfg.FS.OpenReadWrite(path, category)
	if err != nil {
		return err
	}
	err = f.Preallocate(0, size)
	if err == nil {
		_, err = f.WriteAt([]byte{0}, size-1)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// findBallast notes a ballast that an earlier process left.
func (s *Store) findBallast() {
	_, err := s.cfg.FS.Stat(s.cfg.FS.PathJoin(s.cfg.Dir, ballastName))
	s.space.mu.Lock()
	s.space.ballast = err == nil
	s.space.mu.Unlock()
}
