package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meridian-relay/meridian/core/shard"
)

// Bounds of the commit loop.
const (
	// batchBytes is about how much one batch takes from what was submitted.
	batchBytes = 4 << 20
	// batchesAhead is how many batches may wait for their sync. Pebble covers all that wait
	// with one.
	batchesAhead = 64
)

// A job is a Write on its way.
type job struct {
	write *shard.Write
	done  func()
	taken bool // its staged state is in place
}

// A loop gathers the Writes of all replicas. What is submitted while a batch is synced becomes
// the next one.
type loop struct {
	wake            chan struct{}
	syncs           chan *synced
	writes, batches atomic.Uint64

	// Owned by the writer.
	held map[shard.Replica][]job // those behind a state that is being taken in

	mu      sync.Mutex
	pending []job
	front   []job // what goes before pending
	taking  sync.WaitGroup
}

// A synced is a batch that waits for its sync, and what follows it.
type synced struct {
	batch *pebble.Batch
	after []func() error // changes to states that must not come before
	done  []func()
}

func (l *loop) init() {
	l.wake = make(chan struct{}, 1)
	l.syncs = make(chan *synced, batchesAhead)
	l.held = make(map[shard.Replica][]job)
}

// Submit hands a Write to the loop, and returns at once; whoever submits bounds what waits. done
// is called once, from a goroutine of the store, when the write is made, and durable if it asks
// for that; it must not block. After a failure it is not called.
func (s *Store) Submit(w *shard.Write, done func()) {
	s.loop.submit(job{write: w, done: done}, false)
}

func (l *loop) submit(j job, front bool) {
	l.mu.Lock()
	if front {
		l.front = append(l.front, j)
	} else {
		l.pending = append(l.pending, j)
	}
	l.mu.Unlock()
	nudge(l.wake)
}

// take moves what the next batch holds to jobs.
func (l *loop) take(jobs []job) []job {
	l.mu.Lock()
	defer l.mu.Unlock()
	jobs = append(jobs, l.front...)
	clear(l.front)
	l.front = l.front[:0]
	size, n := 0, 0
	for n < len(l.pending) && size < batchBytes {
		size += l.pending[n].write.Size()
		n++
	}
	jobs = append(jobs, l.pending[:n]...)
	rest := copy(l.pending, l.pending[n:])
	clear(l.pending[rest:])
	l.pending = l.pending[:rest]
	if rest > 0 {
		nudge(l.wake)
	}
	return jobs
}

// Run writes what is submitted, flushes states and watches the disk, until ctx ends or the store
// fails, which it returns. What was submitted before ctx ended is written. After a failure it
// does not wait for what hangs in the disk.
func (s *Store) Run(ctx context.Context) error {
	var writer, rest sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	writer.Go(func() { s.guard(func() { s.write(ctx) }) })
	rest.Go(func() { s.guard(s.sync) })
	rest.Go(func() { s.guard(func() { s.keepFlushed(ctx) }) })
	rest.Go(func() { s.watchSpace(ctx) })
	ended := make(chan struct{})
	go func() {
		writer.Wait()
		close(s.loop.syncs)
		rest.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-s.failed:
	}
	return s.Err()
}

// guard makes a failure of what Pebble panics with.
func (s *Store) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			err, ok := p.(error)
			if !ok {
				err = fmt.Errorf("%v", p)
			}
			s.fail("write", err)
		}
	}()
	f()
}

// write makes batches until ctx ends.
func (s *Store) write(ctx context.Context) {
	var jobs []job
	slow := newSlowness(s)
	defer slow.end()
	commit := func() error { // Pebble holds it up while the disk is behind
		slow.begin()
		defer slow.end()
		return s.commit(jobs)
	}
	for {
		select {
		case <-s.loop.wake:
		case <-s.failed:
			return
		case <-ctx.Done():
			s.loop.taking.Wait()
			if jobs = s.loop.take(jobs[:0]); len(jobs) == 0 {
				return
			}
			if err := commit(); err != nil {
				return
			}
			continue
		}
		jobs = s.loop.take(jobs[:0])
		if err := commit(); err != nil {
			return
		}
		clear(jobs)
	}
}

// commit writes jobs as one batch.
func (s *Store) commit(jobs []job) error {
	c := &commit{s: s, log: s.log.NewBatch(), seen: make(map[shard.Replica]*outline)}
	for _, j := range jobs {
		if err := c.job(j); err != nil {
			return s.fail("write log", err)
		}
	}
	if len(c.jobs) == 0 {
		return c.log.Close()
	}
	return s.apply(c)
}

func (s *Store) apply(c *commit) error {
	if c.state != nil { // first states, which the log has too
		if err := s.state.Apply(c.state, pebble.NoSync); err != nil {
			return s.fail("write state", err)
		}
	}
	var err error
	if c.sync {
		err = s.log.ApplyNoSyncWait(c.log, pebble.Sync)
	} else {
		err = s.log.Apply(c.log, pebble.NoSync)
	}
	if err != nil {
		return s.fail("write log", err)
	}
	s.note(c.jobs)
	s.loop.batches.Add(1)
	s.loop.writes.Add(uint64(len(c.jobs)))
	wait := &synced{batch: c.log, after: c.after}
	for _, j := range c.jobs {
		if j.write.Sync || len(c.after) > 0 {
			wait.done = append(wait.done, j.done)
		} else {
			j.done()
		}
	}
	if !c.sync {
		return c.log.Close()
	}
	select {
	case s.loop.syncs <- wait:
		return nil
	case <-s.failed:
		return s.Err()
	}
}

// sync waits for batches, in order, and tells those who wait.
func (s *Store) sync() {
	slow := newSlowness(s)
	defer slow.end()
	for wait := range s.loop.syncs {
		slow.begin()
		err := wait.batch.SyncWait()
		slow.end()
		if err != nil {
			s.fail("sync log", err)
			return
		}
		for _, f := range wait.after {
			if err := f(); err != nil {
				s.fail("write state", err)
				return
			}
		}
		for _, done := range wait.done {
			done()
		}
		wait.batch.Close()
	}
}

// A slowness calls Slow while a sync, or a write, takes too long.
type slowness struct {
	s     *Store
	mu    sync.Mutex
	timer *time.Timer
	began time.Time // zero: nothing is synced or written
}

func newSlowness(s *Store) *slowness {
	w := &slowness{s: s}
	w.mu.Lock()
	w.timer = time.AfterFunc(time.Hour, w.fire)
	w.mu.Unlock()
	return w
}

func (w *slowness) fire() {
	w.mu.Lock()
	took := time.Since(w.began)
	// One that fired as its sync ended may find the next one begun.
	slow := !w.began.IsZero() && took >= w.s.cfg.SlowAfter
	if slow {
		w.timer.Reset(time.Second)
	}
	w.mu.Unlock()
	if slow {
		w.s.cfg.Slow(took)
	}
}

func (w *slowness) begin() {
	w.mu.Lock()
	w.began = time.Now()
	w.timer.Reset(w.s.cfg.SlowAfter)
	w.mu.Unlock()
}

func (w *slowness) end() {
	w.mu.Lock()
	w.began = time.Time{}
	w.timer.Stop()
	w.mu.Unlock()
}
