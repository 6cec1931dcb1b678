package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// acks prints the positions of messages in the order in which they were published, each as soon
// as it and those before it are answered. It stops the publishing at the first that is refused.
// What it holds is bounded by the client, which bounds the messages without an answer.
type acks struct {
	// Set at construction.
	out    *lines
	format format
	stop   context.CancelCauseFunc
	wake   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	overdue *time.Timer // runs while the queue has a message
	queue   []*ack      // expected and not printed; oldest first
	closing bool

	// Owned by run, and by close once run has ended.
	printed int
	refused int   // answered with an error
	beyond  int   // acknowledged after the first refusal: not printed, so that lines match the input
	err     error // the first refusal, or why printing failed
}

// An ack is the answer to one message.
type ack struct {
	answered  bool
	forgotten bool
	at        relay.Position
	err       error
}

// newAcks returns acks; overdue, a timer that is not needed yet, ends when no answer came for long.
func newAcks(out io.Writer, f format, overdue *time.Timer, stop context.CancelCauseFunc) *acks {
	overdue.Stop()
	a := &acks{out: newLines(out), format: f, overdue: overdue, stop: stop, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go a.run()
	return a
}

// expect makes room for the next message's answer.
func (a *acks) expect() *ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := new(ack)
	if len(a.queue) == 0 {
		a.overdue.Reset(patient)
	}
	a.queue = append(a.queue, k)
	return k
}

// answer gives a message its answer. It does not block.
func (a *acks) answer(k *ack, at relay.Position, err error) {
	a.mu.Lock()
	k.answered, k.at, k.err = true, at, err
	a.mu.Unlock()
	a.kick()
}

// forget expects no answer to a message that was not published.
func (a *acks) forget(k *ack) {
	a.mu.Lock()
	k.answered, k.forgotten = true, true
	a.mu.Unlock()
	a.kick()
}

func (a *acks) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// close prints what is answered and returns how many positions were printed, and the first
// error.
func (a *acks) close() (printed int, err error) {
	a.mu.Lock()
	a.closing = true
	a.mu.Unlock()
	a.kick()
	<-a.done
	if a.beyond > 0 {
		return a.printed, fmt.Errorf("%w (%d messages after it were acknowledged)", a.err, a.beyond)
	}
	return a.printed, a.err
}

func (a *acks) run() {
	defer close(a.done)
	for range a.wake {
		a.mu.Lock()
		n := 0
		for n < len(a.queue) && a.queue[n].answered {
			n++
		}
		ready := a.queue[:n:n]
		a.queue = a.queue[n:]
		if len(a.queue) == 0 || a.closing {
			a.overdue.Stop()
		} else if n > 0 {
			a.overdue.Reset(patient)
		}
		closing := a.closing
		a.mu.Unlock()
		for _, k := range ready {
			a.print(k)
		}
		if err := a.out.flush(); err != nil {
			a.fail(err)
		}
		if closing {
			return
		}
	}
}

func (a *acks) print(k *ack) {
	if k.err != nil {
		a.refused++
	}
	switch {
	case k.forgotten:
		return
	case a.err != nil && k.err != nil:
		return // one is enough
	case a.err != nil:
		a.beyond++
		return
	case k.err != nil:
		a.fail(k.err)
		return
	}
	a.printed++
	var err error
	if a.format == jsonOut {
		err = a.out.json(position(k.at))
	} else {
		err = a.out.text(k.at.String())
	}
	if err != nil {
		a.fail(err)
	}
}

var errStopped = errors.New("stopped publishing")

func (a *acks) fail(err error) {
	if a.err == nil {
		a.err = err
		a.stop(errStopped)
	}
}

// position is a Position in JSON.
type position struct {
	Epoch relay.Epoch `json:"epoch"`
	Seq   relay.Seq   `json:"seq"`
}
