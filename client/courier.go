package client

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const (
	turn       = 64          // letters of one channel that leave before another's
	sweepEvery = time.Minute // how often unused outboxes are dropped
)

// A courier carries publishes to the session that stands: the outboxes decide, it moves.
type courier struct {
	// Set at construction.
	limit int           // bytes of all letters
	kick  chan struct{} // something to do

	// Owned by run.
	conn    *conn
	subject relay.Subject // of the last session
	named   bool          // there was one
	stalled time.Time     // the session's queue was full: not before this
	pace    pace          // of conn
	sweepAt time.Time

	mu     sync.Mutex
	next   *conn // the session to use
	boxes  map[relay.Channel]*outbox
	active map[*outbox]struct{}  // those with letters, of ids too
	queue  []*outbox             // worth a turn; each once
	queued map[*outbox]struct{}  // those in queue
	later  map[*outbox]time.Time // worth a turn then
	open   int                   // letters not done
	bytes  int                   // their cost
	room   chan struct{}         // closed when open shrinks; nil: nobody waits
	closed error                 // no more publishes

	// answers come from the session, which may hold its own locks: nothing else is taken with
	// this lock.
	answersMu sync.Mutex
	answers   []answer
}

// An answer is the session's, to one attempt.
type answer struct {
	conn    *conn
	letter  *letter
	attempt uint32
	at      relay.Position
	end     relay.End
}

func newCourier(limit int) *courier {
	return &courier{
		limit: limit, kick: make(chan struct{}, 1),
		boxes: map[relay.Channel]*outbox{}, active: map[*outbox]struct{}{},
		queued: map[*outbox]struct{}{}, later: map[*outbox]time.Time{},
	}
}

func drawProducer() relay.Producer {
	var p relay.Producer
	_, _ = rand.Read(p[:]) // never fails
	return p
}

func (co *courier) wake() {
	select {
	case co.kick <- struct{}{}:
	default:
	}
}

// use makes conn the session to send on; nil: none stands.
func (co *courier) use(conn *conn) {
	co.mu.Lock()
	co.next = conn
	co.mu.Unlock()
	co.wake()
}

// post takes a publish, waiting for room until ctx ends. result is called once, by run, and
// must not block. producer is zero but for an id's.
func (co *courier) post(ctx context.Context, ch relay.Channel, producer relay.Producer, body []byte,
	result func(relay.Position, error)) (*letter, error) {
	l := &letter{body: body, result: result}
	for {
		co.mu.Lock()
		if co.closed != nil {
			defer co.mu.Unlock()
			return nil, co.closed
		}
		if co.open == 0 || co.bytes+l.cost() <= co.limit {
			co.push(ch, producer, l)
			co.mu.Unlock()
			co.wake()
			return l, nil
		}
		room := co.waitRoom()
		co.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// push adds l. co.mu is held.
func (co *courier) push(ch relay.Channel, producer relay.Producer, l *letter) {
	now := time.Now()
	var o *outbox
	if producer.IsZero() {
		if o = co.boxes[ch]; o == nil {
			o = newOutbox(ch, drawProducer, now)
			co.boxes[ch] = o
		}
	} else {
		o = newOnceOutbox(ch, producer, now)
	}
	o.push(l, now)
	co.active[o] = struct{}{}
	co.open++
	co.bytes += l.cost()
	co.ready(o)
}

// ready queues o for a turn. co.mu is held.
func (co *courier) ready(o *outbox) {
	delete(co.later, o)
	if _, ok := co.queued[o]; !ok {
		co.queued[o] = struct{}{}
		co.queue = append(co.queue, o)
	}
}

// waitRoom returns a channel that is closed when there is more room. co.mu is held.
func (co *courier) waitRoom() <-chan struct{} {
	if co.room == nil {
		co.room = make(chan struct{})
	}
	return co.room
}

// cancel gives l up. told: its caller has been told already, or is about to be. inDoubt: it may
// take effect nevertheless.
func (co *courier) cancel(l *letter) (told, inDoubt bool) {
	co.mu.Lock()
	defer co.mu.Unlock()
	if l.told {
		return true, false
	}
	inDoubt = l.inDoubt()
	l.outlet.cancel(l)
	co.ready(l.outlet)
	co.wake()
	return false, inDoubt
}

// drained waits until every publish has its outcome.
func (co *courier) drained(ctx context.Context) error {
	for {
		co.mu.Lock()
		if co.open == 0 {
			co.mu.Unlock()
			return nil
		}
		room := co.waitRoom()
		co.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// shut refuses further publishes with err.
func (co *courier) shut(err error) {
	co.mu.Lock()
	defer co.mu.Unlock()
	if co.closed == nil {
		co.closed = err
	}
	co.freeRoom()
}

func (co *courier) freeRoom() {
	if co.room != nil {
		close(co.room)
		co.room = nil
	}
}

// pending reports whether something is unanswered.
func (co *courier) pending() bool {
	co.mu.Lock()
	defer co.mu.Unlock()
	return co.open > 0
}

func jitter() float64 { return mathrand.Float64() }
