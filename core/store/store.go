package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-relay/meridian/core/shard"
)

// A Config configures a Store. Dir, Fleet and Node are needed. Callbacks come from goroutines of
// the store and must not block.
type Config struct {
	Dir   string
	Fleet string
	Node  shard.Node
	// FS is where the folder is. nil: the operating system's file system.
	FS vfs.FS
	// Logger gets what an operator may want to know. nil: nothing.
	Logger *slog.Logger
	// Cache bounds blocks kept in memory, of log and states, beside LogMemory and StateMemory
	// twice: what of these is not in use yet has blocks too. 0: 256 MiB.
	Cache int64
	// LogMemory and StateMemory bound what is not written to tables yet. 0: 128 MiB and 64 MiB.
	// Up to three times as much is held while the disk falls behind.
	LogMemory, StateMemory uint64
	// FlushAfter is the age, and FlushLog the bytes of log, from which on states are flushed
	// though their memory has room, so that logs can be truncated. 0: 5 minutes and twice
	// StateMemory.
	FlushAfter time.Duration
	FlushLog   uint64
	// RewriteAge is how old a file of values must be before it is rewritten for the garbage
	// in it. 0: a minute.
	RewriteAge time.Duration
	// Flushed is called when a state's changes became durable. nil: nobody asks.
	Flushed func()
	// Slow is called while a sync of the log takes longer than SlowAfter, and each second
	// again. nil: nobody asks. 0: 2 s.
	Slow      func(d time.Duration)
	SlowAfter time.Duration
	// ReadOnly is called when the disk has less than a tenth of its space left, and when it has
	// more than 12 % again. nil: nobody asks.
	ReadOnly func(bool)
	// Watch is how often free space is looked at. 0: a second.
	Watch time.Duration
	// Ballast is the size of a file that is deleted when the disk is full. 0: 64 MiB, or a
	// hundredth of the disk if that is less; negative: none.
	Ballast int64
	// Frozen and Staged bound states that are sent and received at once. 0: 4 each.
	Frozen, Staged int
}

func (c *Config) fill() error {
	switch {
	case c.Dir == "":
		return errors.New("store: no folder; name one")
	case c.Fleet == "" || c.Node == "":
		return fmt.Errorf("store: fleet %q, node %q: name both", c.Fleet, c.Node)
	}
	set(&c.FS, vfs.Default)
	set(&c.Logger, slog.New(slog.DiscardHandler))
	set(&c.Cache, 256<<20)
	set(&c.LogMemory, logMemtable)
	set(&c.StateMemory, 64<<20)
	set(&c.FlushAfter, 5*time.Minute)
	set(&c.FlushLog, 2*c.StateMemory)
	set(&c.RewriteAge, defaultRewriteAge)
	set(&c.SlowAfter, 2*time.Second)
	set(&c.Watch, time.Second)
	set(&c.Frozen, 4)
	set(&c.Staged, 4)
	if c.Flushed == nil {
		c.Flushed = func() {}
	}
	if c.Slow == nil {
		c.Slow = func(time.Duration) {}
	}
	if c.ReadOnly == nil {
		c.ReadOnly = func(bool) {}
	}
	return nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Store is a node's folder: logs and states of its replicas.
type Store struct {
	// Set by Open.
	cfg    Config
	fs     *countedFS
	id     Identity
	locked io.Closer
	cache  *pebble.Cache
	log    *pebble.DB
	state  *pebble.DB
	failed chan struct{}

	loop    loop
	flushes flushes
	stalls  stalls
	space   space

	// mu guards replicas and what is in them, and err. It is held for no I/O.
	mu       sync.RWMutex
	replicas map[shard.Replica]*replica
	removed  map[shard.Replica]bool
	err      error

	snapshots snapshots
	blocks    blocks // what readers lend
}

var (
	_ shard.Log    = (*Store)(nil)
	_ shard.States = (*Store)(nil)
)

// Open opens a folder, or makes a store of an empty one. Errors: ErrForeign, ErrNewer, ErrFleet,
// ErrNode, ErrInUse, ErrDamaged, ErrDisk.
func Open(cfg Config) (*Store, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, failed: make(chan struct{})}
	s.fs = &countedFS{FS: vfs.OnDiskFull(cfg.FS, s.diskFull)}
	s.loop.init()
	s.flushes.ended, s.flushes.emptied = make(chan struct{}, 1), make(chan struct{}, 1)
	// On a goroutine of its own: Pebble ends it, or leaves it waiting, where the disk fails.
	opened := make(chan error, 1)
	go s.guard(func() { opened <- s.open() })
	select {
	case err := <-opened:
		if err != nil {
			s.release()
			return nil, err
		}
		return s, nil
	case <-s.failed:
		return nil, s.Err()
	}
}

func (s *Store) open() (err error) {
	found, err := s.identify()
	if err != nil {
		return err
	}
	dir := s.cfg.Dir
	if err := makeDir(s.fs, dir); err != nil {
		return s.fault("make folder", err)
	}
	if err := s.lock(); err != nil {
		return err
	}
	if !found {
		if err := s.found(); err != nil {
			return err
		}
	}
	if err := makeDir(s.fs, s.fs.PathJoin(dir, stagingName)); err != nil {
		return s.fault("make folder", err)
	}
	s.findBallast()
	// Pebble takes memtables out of the cache's room, of each database the one that is written
	// and the one that was flushed or is used again next.
	s.cache = pebble.NewCache(s.cfg.Cache + 2*int64(s.cfg.LogMemory+s.cfg.StateMemory))
	if err := s.checkWALs(); err != nil {
		return s.fault("check log", err)
	}
	if s.log, err = s.database(logName, s.logOptions()); err != nil {
		return s.fault("open log", err)
	}
	if !s.id.Begun {
		// Pebble makes a database in its oldest format and then raises that. The log's first
		// file is still in the old one, which does not say what was synced.
		if err := s.log.Flush(); err != nil {
			return s.fault("begin log", err)
		}
	}
	if s.state, err = s.database(stateName, s.stateOptions()); err != nil {
		return s.fault("open state", err)
	}
	if err := s.begun(); err != nil {
		return err
	}
	return s.load()
}

// database opens one of the two. Once both were made, it makes none.
func (s *Store) database(name string, o *pebble.Options) (*pebble.DB, error) {
	o.ErrorIfNotExists = s.id.Begun
	return pebble.Open(s.fs.PathJoin(s.cfg.Dir, name), o)
}

// Identity returns what the folder says it is.
func (s *Store) Identity() Identity { return s.id }

// Close flushes the states and closes the folder. Readers, batches, frozen and staged states have
// to be closed before, and Run has to have returned. After a failure nothing is flushed.
func (s *Store) Close() error {
	s.closeSnapshots()
	if s.Err() == nil {
		_ = s.flushStates() // Err tells
	}
	err := s.Err()
	s.release()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// release gives back what open took. What failed stays as it is until the process ends: Pebble
// may hold locks in it, and still write.
func (s *Store) release() {
	s.mu.Lock()
	failed := s.err != nil
	if !failed {
		s.err = ErrClosed
		close(s.failed)
	}
	s.mu.Unlock()
	if failed {
		return
	}
	for _, db := range []*pebble.DB{s.state, s.log} {
		if db == nil {
			continue
		}
		if err := db.Close(); err != nil {
			s.cfg.Logger.Error("close store", "err", err)
		}
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	if s.locked != nil {
		s.locked.Close()
	}
}
