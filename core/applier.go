package core

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/meridian-relay/meridian/core/shard"
)

// An applier runs committed entries on states: a few goroutines for all replicas, each replica on
// one at a time and in order. What a replica has waiting is bounded by raft.
type applier struct {
	// Set at construction.
	local *Local
	inbox *inbox
	fail  func(error)

	mu      sync.Mutex
	ready   sync.Cond
	waiting map[shard.Replica]*lane // only those that have something
	head    *lane                   // runnable, first come, first served
	tail    *lane
	closed  bool
}

// A lane is what waits for one replica.
type lane struct {
	list []*shard.Apply
	next *lane
}

func newApplier(local *Local, in *inbox, fail func(error)) *applier {
	a := &applier{local: local, inbox: in, fail: fail, waiting: make(map[shard.Replica]*lane)}
	a.ready.L = &a.mu
	return a
}

// add takes what a Host handed out.
func (a *applier) add(list []*shard.Apply) {
	if len(list) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, apply := range list {
		l := a.waiting[apply.Replica]
		if l == nil {
			l = &lane{}
			a.waiting[apply.Replica] = l
			a.push(l)
		}
		l.list = append(l.list, apply)
	}
}

func (a *applier) push(l *lane) {
	if l.next = nil; a.tail != nil && a.head != nil {
		a.tail.next = l
	} else {
		a.head = l
	}
	a.tail = l
	a.ready.Signal()
}

// run applies until ctx ends, on so many goroutines.
func (a *applier) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(a.work)
	}
	<-ctx.Done()
	a.mu.Lock()
	a.closed = true
	a.ready.Broadcast()
	a.mu.Unlock()
	wg.Wait()
	for _, l := range a.waiting { // what a Host still handed out
		for _, apply := range l.list {
			apply.Abandon()
		}
	}
}

// work applies what is runnable. A lane that is being worked on is in waiting, but not runnable.
func (a *applier) work() {
	w := worker{applier: a, machine: shard.NewMachine()}
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		for a.head == nil && !a.closed {
			a.ready.Wait()
		}
		if a.closed {
			return
		}
		l := a.head
		if a.head = l.next; a.head == nil {
			a.tail = nil
		}
		list := l.list
		l.list = nil
		a.mu.Unlock()
		var err error
		for _, apply := range list {
			if err != nil {
				apply.Abandon()
			} else if err = w.apply(apply); err != nil {
				apply.Abandon()
			}
		}
		if err != nil {
			a.fail(err)
		}
		a.mu.Lock()
		switch {
		case err != nil: // the process ends
		case len(l.list) > 0:
			a.push(l)
		default:
			delete(a.waiting, list[0].Replica)
		}
	}
}

// A worker is one goroutine's scratch.
type worker struct {
	*applier
	machine *shard.Machine
	waking  []*subscription
}

// apply runs entries, makes them visible, answers, and wakes who waits, in this order.
func (w *worker) apply(a *shard.Apply) error {
	batch := w.local.states.Begin(a.Replica)
	err := w.machine.Run(a, batch)
	if err == nil {
		err = batch.Commit()
	}
	batch.Close()
	if errors.Is(err, shard.ErrNoReplica) { // it was removed meanwhile
		w.inbox.applied(a)
		return nil
	}
	if err != nil {
		return fmt.Errorf("apply to %v: %w", a.Replica, err)
	}
	if r := w.local.replica(a.Replica.Shard); r != nil && r.id == a.Replica {
		w.waking = w.local.topics.collect(r, a.Result.Touched, w.waking)
	}
	a.Answer()
	w.inbox.applied(a)
	w.waking = wakeAll(w.waking)
	return nil
}
