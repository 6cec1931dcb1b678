package link

import (
	"sync"

	"github.com/meridian-relay/meridian/relay"
)

// The states of a feed. Invariant: a feed is in its queue's list exactly in stateQueued, and
// only the queue's writer touches its subscription in statePulling.
const (
	stateOpening uint8 = iota // the upstream has not returned the subscription yet
	stateIdle                 // the upstream will call wake
	stateQueued               // waits for its turn
	statePulling              // the writer is calling Next
	stateStarved              // there is more, but no credit
	stateDone
)

// A writer empties a queue, then returns.
type writer interface{ write() }

// A queue holds the feeds that wait for their turn at one writer, which runs only while there
// are any.
type queue struct {
	w       writer
	writers *sync.WaitGroup

	mu      sync.Mutex
	head    *feed
	tail    *feed
	running bool
	dead    bool // nothing is written any more
}

// push appends f and starts the writer. q.mu is held.
func (q *queue) push(f *feed) {
	f.state = stateQueued
	f.next = nil
	if q.tail == nil {
		q.head = f
	} else {
		q.tail.next = f
	}
	q.tail = f
	q.kick()
}

// pop takes the first feed, nil if none waits. q.mu is held.
func (q *queue) pop() *feed {
	f := q.head
	if f == nil {
		return nil
	}
	q.head = f.next
	if q.head == nil {
		q.tail = nil
	}
	f.next = nil
	f.state = statePulling
	f.woken = false
	return f
}

// kick starts the writer if none runs. q.mu is held.
func (q *queue) kick() {
	if q.running || q.dead {
		return
	}
	q.running = true
	q.writers.Add(1)
	go q.w.write()
}

// A feed is one subscription on its way to the peer.
type feed struct {
	// Set at construction.
	ref     uint64
	server  *Server
	queue   *queue
	asked   *lane // of the request
	lane    *lane // where its frames go, but for messages by datagram: asked, or its own
	channel relay.Channel
	needs   relay.Action
	own     bool // lane is its own stream
	free    bool // takes no credit

	// Owned by the writer in statePulling, by the server once no writer runs.
	sub relay.Subscription
	at  relay.Position // of the last message sent

	// Guarded by queue.mu.
	next    *feed
	ending  *relay.End // to be ended so, at its next turn
	credit  int64      // bytes; below zero by at most a part of one message
	deficit int
	state   uint8
	woken   bool // wake came in stateOpening or statePulling
}

// wake is what the upstream calls when there is more.
func (f *feed) wake() {
	q := f.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	switch f.state {
	case stateOpening, statePulling:
		f.woken = true
	case stateIdle:
		f.enqueue()
	}
}

// enqueue gives f its next turn, if it has the credit. queue.mu is held.
func (f *feed) enqueue() {
	if f.credit > 0 || f.free || f.ending != nil {
		f.queue.push(f)
	} else {
		f.state = stateStarved
	}
}

// opened hands over the subscription that the upstream returned.
func (f *feed) opened(sub relay.Subscription) {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	f.sub = sub
	f.state = stateIdle
	if f.woken || f.ending != nil {
		f.enqueue()
	}
}

// grant adds credit; false if the sum is beyond bounds.
func (f *feed) grant(bytes uint64) bool {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	if bytes > relay.MaxNumber || f.credit > relay.MaxNumber-int64(bytes) {
		return false
	}
	f.credit += int64(bytes)
	if f.state == stateStarved {
		f.enqueue()
	}
	return true
}

// end makes the writer end f at its next turn. The first end counts.
func (f *feed) end(e relay.End) {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	if f.ending != nil || f.state == stateDone {
		return
	}
	f.ending = &e
	if f.state == stateIdle || f.state == stateStarved {
		f.enqueue()
	}
}

// pull calls Next once. It appends the frames to dst and returns how many bytes were allowed;
// if f is to be ended, the subscription is closed and dst gets the End instead. Only the
// writer calls it, for a feed that pop returned.
//
// A feed beside which nobody waits gets all the room there is, and more where the peer has credit
// for it: what is read from a disk in many small turns is read slowly.
func (f *feed) pull(dst []relay.Frame, turn, room int) ([]relay.Frame, int) {
	q := f.queue
	q.mu.Lock()
	ending := f.ending
	if q.head == nil {
		f.deficit, turn = max(f.deficit, 0), room // no debt either
		if !f.free && f.credit >= readSize {
			turn = readSize
		}
	}
	f.deficit = min(f.deficit+turn, max(turn, writeSize))
	allowed := f.deficit
	if !f.free {
		allowed = int(min(int64(allowed), max(f.credit, 1)))
	}
	q.mu.Unlock()
	if ending != nil {
		return append(dst, relay.Frame{Kind: relay.KindEnd, End: ending}), allowed
	}
	if f.server.over.Load() {
		return dst, max(allowed, 1) // as if there were nothing
	}
	if allowed <= 0 {
		return dst, allowed // its last message was larger than its turn: it pays
	}
	return f.sub.Next(dst, allowed), allowed
}

// pulled accounts for what pull returned: messages, the bytes of their bodies, and whether the
// last End was among it. What was lent is no longer used.
func (f *feed) pulled(allowed, messages, bytes int, ended bool) {
	if messages > 0 {
		f.server.cfg.Delivered(messages, bytes)
	}
	if ended {
		f.sub.Close()
	}
	q := f.queue
	q.mu.Lock()
	if !f.free {
		f.credit -= int64(bytes)
	}
	switch {
	case ended:
		f.state = stateDone
	case bytes >= allowed || f.woken || f.ending != nil:
		f.deficit -= bytes
		f.enqueue()
	default:
		f.deficit = 0
		f.state = stateIdle
	}
	q.mu.Unlock()
	if ended {
		f.server.ended(f)
	}
}
