package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

// acks prints the positions of messages in the order in which they were published, each as soon
// as it and those before it are answered. It stops the publishing at the first that is refused,
// and goes on behind one whose outcome is unknown. What it holds is bounded by the client, which
// bounds the messages without an answer.
type acks struct {
	// Set at construction.
	out    *lines
	file   *ackFile // nil: none
	format format
	stop   context.CancelCauseFunc
	giveUp time.Duration // 0: never
	wake   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	overdue *time.Timer // runs while the queue has a message: none was answered for long
	tired   *time.Timer // likewise: none was acknowledged for longer; nil: never
	queue   []*ack      // expected and not printed; oldest first
	closing bool
	left    bool // what has no answer is given up

	// Owned by run, and by close once run has ended.
	count counts
	later *time.Timer // wakes it for the file
	err   error       // the first refusal, or why printing failed
}

// counts are what became of the messages.
type counts struct {
	acknowledged int
	refused      int
	unknown      int
	unsent       int // given up before they were sent
	beyond       int // of the acknowledged: after the first refusal, and not printed, so that lines match the input
}

func (c counts) String() string {
	s := fmt.Sprintf("%d acknowledged, %d refused, %d unknown", c.acknowledged, c.refused, c.unknown)
	if c.unsent > 0 {
		s += fmt.Sprintf(", %d not sent", c.unsent)
	}
	return s
}

// An ack is the answer to one message.
type ack struct {
	payload   []byte // nil: nobody wants it
	answered  bool
	forgotten bool
	at        relay.Position
	err       error
}

// errTired ends publishing to a home that is not there.
var errTired = errors.New("gave up")

// newAcks returns acks; overdue, a timer that is not needed yet, ends when no answer came for
// long. file may be nil. giveUp is how long without an acknowledgement is too long; 0: never.
func newAcks(out io.Writer, file *ackFile, f format, overdue *time.Timer, giveUp time.Duration, stop context.CancelCauseFunc) *acks {
	overdue.Stop()
	a := &acks{
		out: newLines(out), file: file, format: f, stop: stop, giveUp: giveUp, overdue: overdue,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if giveUp > 0 {
		a.tired = time.AfterFunc(giveUp, func() {
			stop(fmt.Errorf("%w: nothing was acknowledged for %v", errTired, giveUp))
		})
		a.tired.Stop()
	}
	a.later = time.AfterFunc(time.Hour, a.kick)
	a.later.Stop()
	go a.run()
	return a
}

// expect makes room for the next message's answer.
func (a *acks) expect(payload []byte) *ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := new(ack)
	if a.file != nil {
		k.payload = payload
	}
	if len(a.queue) == 0 {
		a.overdue.Reset(patient)
		a.rest()
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

// rest begins the wait for an acknowledgement anew. a.mu is held.
func (a *acks) rest() {
	if a.tired != nil {
		a.tired.Reset(a.giveUp)
	}
}

// leave says that what has no answer yet is given up: it is no refusal.
func (a *acks) leave() {
	a.mu.Lock()
	a.left = true
	a.mu.Unlock()
}

// close prints what is answered and returns what became of all, and the first error.
func (a *acks) close() (counts, error) {
	a.mu.Lock()
	a.closing = true
	a.mu.Unlock()
	a.kick()
	<-a.done
	err := a.err
	if a.count.beyond > 0 {
		err = fmt.Errorf("%w (%d messages after it were acknowledged)", err, a.count.beyond)
	}
	if a.file != nil {
		err = cmp.Or(err, a.file.close())
	}
	return a.count, err
}

func (a *acks) run() {
	defer close(a.done)
	defer a.later.Stop()
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
		closing, left := a.closing, a.left
		if len(a.queue) == 0 && a.tired != nil || a.tired != nil && closing {
			a.tired.Stop()
		}
		a.mu.Unlock()
		acknowledged := a.count.acknowledged
		for _, k := range ready {
			a.print(k, left)
		}
		if err := a.flush(); err != nil {
			a.fail(err)
		}
		if closing {
			return
		}
		if a.count.acknowledged > acknowledged {
			a.mu.Lock()
			if len(a.queue) > 0 {
				a.rest()
			}
			a.mu.Unlock()
		}
	}
}

// flush writes what was printed: into the file first, so that it has what stdout shows.
func (a *acks) flush() error {
	if a.file != nil {
		again, err := a.file.flush()
		if err != nil {
			return err
		}
		if again > 0 {
			a.later.Reset(again)
		}
	}
	return a.out.flush()
}

func (a *acks) print(k *ack, left bool) {
	switch {
	case k.forgotten:
		return
	case errors.Is(k.err, client.ErrUnknownOutcome):
		a.count.unknown++
		if a.err == nil {
			a.write(nil, k)
		}
		return
	case left && errors.Is(k.err, client.ErrClosed):
		a.count.unsent++
		return
	case k.err != nil:
		a.count.refused++
		a.fail(k.err) // the first one is enough
		return
	}
	a.count.acknowledged++
	if a.file != nil {
		if err := a.file.write(a.format, k); err != nil {
			a.fail(err)
			return
		}
	}
	if a.err != nil {
		a.count.beyond++
		return
	}
	at := position(k.at)
	a.write(&at, k)
}

// write prints an answer's line. at nil: the outcome is unknown.
func (a *acks) write(at *position, k *ack) {
	var err error
	switch {
	case a.format == jsonOut && at == nil:
		err = a.out.json(map[string]string{"error": "unknown"})
	case a.format == jsonOut:
		err = a.out.json(at)
	case at == nil:
		err = a.out.text("unknown")
	default:
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
