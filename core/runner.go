package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

const (
	tickEvery = 50 * time.Millisecond
	lostAfter = 2 * time.Second // without a leader, subscribers are told
	fetches   = 2               // states that are fetched at once
)

// A disk does a Host's writes. Implementations: core/store, and a test's in memory.
type disk interface {
	shard.Log
	shard.States
	// Submit has w written, and done called once w is what it wants to be. It does not wait.
	Submit(w *shard.Write, done func())
}

// A mail carries what a Host sends. Implementations: core/peer, and alone.
type mail interface {
	// Send sends, or drops. It does not wait.
	Send(s shard.Send)
	// Fetch fetches a state.
	Fetch(ctx context.Context, f *shard.Fetch, into shard.Staging) error
}

// alone is the mail of a node without peers.
type alone struct{}

func (alone) Send(shard.Send) {}
func (alone) Fetch(context.Context, *shard.Fetch, shard.Staging) error {
	return errors.New("this node has no peers")
}

// A runner drives a Host: one goroutine tells it what happened and hands out what it wants done.
type runner struct {
	// Set at construction.
	host    *shard.Host
	disk    disk
	mail    mail
	local   *Local
	inbox   *inbox
	applier *applier
	log     *slog.Logger
	// changed is told of every Event, on the runner's goroutine. It must not block.
	changed func(r *replica, e *shard.Event)
	// creating is how many shards begin here; created is called when they are durable.
	creating int
	created  func() error

	failed  chan struct{}
	failure error
	once    sync.Once

	// Owned by run.
	events     events
	commands   []command
	leaderless map[*replica]struct{}
	owing      map[*replica]time.Time // leaders, whose shards are to be tended then
	upkeep     chan shard.Replica
	fetching   chan struct{}
	group      sync.WaitGroup
}

func newRunner(host *shard.Host, d disk, m mail, local *Local, in *inbox, log *slog.Logger) *runner {
	r := &runner{
		host: host, disk: d, mail: m, local: local, inbox: in, log: log,
		changed: func(*replica, *shard.Event) {}, failed: make(chan struct{}),
		leaderless: make(map[*replica]struct{}),
		owing:      make(map[*replica]time.Time),
		upkeep:     make(chan shard.Replica, 4096),
		fetching:   make(chan struct{}, fetches),
	}
	r.applier = newApplier(local, in, r.fail)
	return r
}

// fail ends run with err; the first counts.
func (r *runner) fail(err error) {
	r.once.Do(func() {
		r.failure = err
		close(r.failed)
	})
}

// run drives the Host until ctx ends (nil) or something failed.
func (r *runner) run(ctx context.Context, workers int) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.group.Go(func() { r.applier.run(working, workers) })
	r.group.Go(func() { r.keep(working) })
	err := r.loop(ctx, working)
	stop()
	r.inbox.close()
	r.local.stop(r.commands)
	r.group.Wait()
	r.host.Close()
	return err
}

func (r *runner) loop(ctx, working context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		ticked := false
		select {
		case <-ctx.Done():
			return nil
		case <-r.failed:
			return r.failure
		case <-tick.C:
			ticked = true
		case <-r.inbox.signal:
		}
		r.turn(working, ticked)
		if err := r.host.Err(); err != nil {
			return fmt.Errorf("shards: %w", err)
		}
	}
}

// turn tells the Host what happened, and hands out what it wants done.
func (r *runner) turn(ctx context.Context, ticked bool) {
	r.events = r.inbox.take(r.events)
	e := &r.events
	for _, w := range e.written {
		if w.Staged != nil {
			if p := r.local.replica(w.Replica.Shard); p != nil && p.id == w.Replica {
				r.local.topics.rouse(p, anew)
			}
		}
		if r.host.Written(w); w.Genesis != nil {
			r.creating--
		}
	}
	if r.created != nil && r.creating == 0 {
		if err := r.created(); err != nil {
			r.fail(err)
		}
		r.created = nil
	}
	for _, a := range e.applied {
		r.host.Applied(a)
	}
	for i := range e.received {
		for _, m := range e.received[i].messages {
			r.host.Receive(e.received[i].from, m)
		}
	}
	for i := range e.calls {
		e.calls[i].run(r.host)
	}
	if e.flushed {
		r.host.Flushed()
	}
	if ticked {
		r.host.Tick()
		r.lookForLeaders()
		r.local.topics.kept.expire(r.local.clock())
		r.again(ctx)
	}
	r.commands = r.local.queue.take(r.commands)
	for i := range r.commands {
		r.local.publish(r.host, &r.commands[i])
	}
	r.local.queue.done(r.commands)
	clear(r.commands)
	r.dispatch(ctx, r.host.Take())
}

func (r *runner) dispatch(ctx context.Context, w shard.Work) {
	for i := range w.Events {
		r.event(ctx, &w.Events[i])
	}
	for _, write := range w.Writes {
		r.disk.Submit(write, func() { r.inbox.written(write) })
	}
	for i := range w.Send {
		r.mail.Send(w.Send[i])
	}
	r.applier.add(w.Applies)
	for _, f := range w.Fetches {
		r.fetch(ctx, f)
	}
	for _, id := range w.Upkeep {
		select {
		case r.upkeep <- id:
		default:
			r.log.Warn("retention is late", "replica", id.String())
			r.inbox.ask(func(h *shard.Host) { h.Propose(id.Shard, nil, func(error) {}) }, nil)
		}
	}
}

// event notes what became of a replica.
func (r *runner) event(ctx context.Context, e *shard.Event) {
	p := r.local.open(e.Replica)
	if p == nil {
		return
	}
	led := p.leads()
	p.view.Store(e)
	if p.class() == shard.Ephemeral {
		r.remember(ctx, p, e)
	}
	if !led && p.leads() {
		r.tend(p)
	}
	switch {
	case e.Removed, e.Stopped: // what a stopped one has may be what never was
		r.led(p)
		r.local.remove(p)
	case e.Leader != 0:
		r.led(p)
		r.local.interrupt(p, false)
	case p.leaderless.IsZero():
		p.leaderless = r.local.clock()
		r.leaderless[p] = struct{}{}
		r.local.leaderless.Add(1)
	}
	r.changed(p, e)
}

// led notes that a replica does not lack a leader.
func (r *runner) led(p *replica) {
	delete(r.leaderless, p)
	if !p.leaderless.IsZero() {
		p.leaderless = time.Time{}
		r.local.leaderless.Add(-1)
	}
}

// lookForLeaders tells subscribers whose replica has been without a leader for long.
func (r *runner) lookForLeaders() {
	for p := range r.leaderless {
		if r.local.clock().Sub(p.leaderless) >= lostAfter {
			delete(r.leaderless, p)
			r.local.interrupt(p, true)
		}
	}
}

// fetch fetches a state on a goroutine of its own, of which there are a few.
func (r *runner) fetch(ctx context.Context, f *shard.Fetch) {
	r.group.Go(func() {
		staged, err := r.stage(ctx, f)
		r.inbox.ask(func(h *shard.Host) { h.Fetched(f, staged, err) }, nil)
	})
}

func (r *runner) stage(ctx context.Context, f *shard.Fetch) (shard.Staging, error) {
	select {
	case r.fetching <- struct{}{}:
		defer func() { <-r.fetching }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	staging, err := r.disk.Stage(f.Replica, f.At)
	if err != nil {
		return nil, err
	}
	if err := r.mail.Fetch(ctx, f, staging); err != nil {
		if ctx.Err() == nil { // else the node ends, and goes on there after a restart
			r.log.Warn("state not fetched", "replica", f.Replica.String(), "from", f.From, "err", err)
			staging.Close()
		}
		return nil, err
	}
	return staging, nil
}

// keep reads states for what retention asks for, and has it proposed.
func (r *runner) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-r.upkeep:
			reader := r.disk.Read(id, false)
			commands := shard.Upkeep(reader, r.local.clock())
			err := reader.Err()
			reader.Close()
			if err != nil && !errors.Is(err, shard.ErrNoReplica) {
				r.fail(fmt.Errorf("retention of %v: %w", id, err))
				return
			}
			r.inbox.ask(func(h *shard.Host) {
				h.Propose(id.Shard, commands, func(error) {})
			}, nil)
		}
	}
}

// await runs a call on the Host and waits for its outcome.
func (r *runner) await(ctx context.Context, run func(*shard.Host, func(error))) error {
	outcome := make(chan error, 1)
	done := func(err error) { outcome <- err }
	r.inbox.ask(func(h *shard.Host) { run(h, done) }, func() { done(stopping.Err()) })
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
