package store

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// flushes is what decides when states are flushed before their memory is full. What rests is
// flushed once more, and then causes no sync.
type flushes struct {
	logged  atomic.Uint64 // bytes of entries
	first   atomic.Int64  // since when a change waits that no flush may have; 0: none does
	dirty   atomic.Bool   // something changed since a flush began last
	count   atomic.Uint64
	freed   atomic.Uint64 // bytes of entries that were truncated since the log was flushed
	ended   chan struct{} // a flush of states ended
	emptied chan struct{} // freed is enough

	// Owned by keepFlushed.
	flushed uint64 // logged, at the last flush
}

// freedShare is the share of the log's memory that has to be of no use before the log is flushed.
const freedShare = 4

// truncated counts what was removed from logs, whose memory is most bytes.
func (f *flushes) truncated(n, most uint64) {
	if f.freed.Add(n) >= most/freedShare {
		nudge(f.emptied)
	}
}

// nudge wakes who waits on c, now or next.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *flushes) changed() {
	if !f.dirty.Load() {
		f.dirty.Store(true)
	}
	if f.first.Load() == 0 {
		f.first.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// begin notes that a flush begins. It has what was there when its memory was taken, which is a
// while ago where flushes queue: what changed since the flush before may be the next one's. Of what
// rests, one flush more than it takes does no harm.
func (f *flushes) begin() {
	if f.dirty.Swap(false) {
		f.first.Store(time.Now().UnixNano())
	} else {
		f.first.Store(0)
	}
}

// due reports whether states are to be flushed though there is room.
func (s *Store) due() bool {
	first := s.flushes.first.Load()
	if first == 0 {
		return false
	}
	return s.flushes.logged.Load()-s.flushes.flushed >= s.cfg.FlushLog ||
		time.Since(time.Unix(0, first)) >= s.cfg.FlushAfter
}

// keepFlushed flushes states that are due, and tells when a flush has ended, so that logs can be
// truncated.
func (s *Store) keepFlushed(ctx context.Context) {
	t := time.NewTicker(s.cfg.Watch)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.failed:
			return
		case <-s.flushes.ended:
			s.cfg.Flushed()
			continue
		case <-t.C:
		case <-s.flushes.emptied:
		}
		if err := s.flushDue(); err != nil {
			s.fail("flush", err)
			return
		}
	}
}

// flushDue flushes states that are due, and the log when most of what its memory holds was
// truncated: that never reaches a table then, and a restart has less to read.
func (s *Store) flushDue() error {
	if s.due() {
		s.flushes.flushed = s.flushes.logged.Load()
		if _, err := s.state.AsyncFlush(); err != nil {
			return err
		}
	}
	if s.flushes.freed.Load() >= s.cfg.LogMemory/freedShare {
		s.flushes.freed.Store(0)
		if _, err := s.log.AsyncFlush(); err != nil {
			return err
		}
	}
	return nil
}

// Flush makes the states durable as they stand.
func (s *Store) Flush() error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.flushStates()
}

// flushStates flushes the states. It does not wait for a flush that failed: Pebble does, for ever.
func (s *Store) flushStates() error {
	flushed := make(chan error, 1)
	go s.guard(func() { flushed <- s.state.Flush() })
	select {
	case err := <-flushed:
		if err != nil {
			return s.fail("flush state", err)
		}
		return nil
	case <-s.failed:
		return s.Err()
	}
}

func (s *Store) logEvents() pebble.EventListener {
	return pebble.EventListener{
		BackgroundError: s.backgroundError("log"),
		DataCorruption:  s.corruption,
		WriteStallBegin: s.stallBegin("log"),
		WriteStallEnd:   s.stallEnd,
	}
}

func (s *Store) stateEvents() pebble.EventListener {
	return pebble.EventListener{
		BackgroundError: s.backgroundError("state"),
		DataCorruption:  s.corruption,
		WriteStallBegin: s.stallBegin("state"),
		WriteStallEnd:   s.stallEnd,
		FlushBegin:      func(pebble.FlushInfo) { s.flushes.begin() },
		FlushEnd: func(info pebble.FlushInfo) {
			if info.Err != nil {
				return
			}
			s.flushes.count.Add(1)
			nudge(s.flushes.ended)
		},
	}
}

// backgroundError ends the store, and Pebble's goroutine with it: Pebble would try again at once,
// for ever.
func (s *Store) backgroundError(db string) func(error) {
	return func(err error) {
		s.fail("flush or compact "+db, err)
		runtime.Goexit()
	}
}

func (s *Store) corruption(info pebble.DataCorruptionInfo) {
	s.fail("read", fmt.Errorf("%w: %s: %w", ErrDamaged, info.Path, info.Details))
}

// A logger takes what Pebble says.
type logger Store

// Infof says what Pebble does: nothing that an operator has to know.
func (l *logger) Infof(string, ...any) {}

// Errorf is called beside errors that are returned or told by an event.
func (l *logger) Errorf(format string, args ...any) {
	l.cfg.Logger.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on. It must not return, and the process is to end in
// its own way: the goroutine ends here.
func (l *logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if e, ok := a.(error); ok {
			err = e
		}
	}
	(*Store)(l).fail("write", err)
	runtime.Goexit()
}
