package core

import (
	"sync"

	"github.com/meridian-relay/meridian/relay"
)

// A command is a publish that waits, and what became of it.
type command struct {
	p      relay.Publication
	answer func(relay.Position, relay.End)
	at     relay.Position
	end    relay.End
}

// commandCost is what a command counts besides its body, in bytes.
const commandCost = 512

func (c *command) cost() int { return commandCost + len(c.p.Body) }

// A queue holds publishes in the order of their calls, bounded in bytes: past it ErrBusy.
type queue struct {
	// Set at construction.
	most   int
	signal chan struct{} // there is something to do

	// Guarded by mu.
	mu     sync.Mutex
	list   []command
	bytes  int // of list, and of what was taken and is not done
	closed bool
}

func (q *queue) init(most int) {
	q.most, q.signal = most, make(chan struct{}, 1)
}

// notify makes Run look. It never waits.
func (q *queue) notify() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// push appends a publish. A queue that is closed or full takes nothing, but an empty one takes
// a publish of any size.
func (q *queue) push(p relay.Publication, answer func(relay.Position, relay.End)) error {
	c := command{p: p, answer: answer}
	q.mu.Lock()
	if q.closed || q.bytes > 0 && q.bytes+c.cost() > q.most {
		q.mu.Unlock()
		return relay.ErrBusy
	}
	q.bytes += c.cost()
	first := len(q.list) == 0
	q.list = append(q.list, c)
	q.mu.Unlock()
	if first {
		q.notify()
	}
	return nil
}

// take returns what waits, and leaves the empty list to be filled instead.
func (q *queue) take(empty []command) []command {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = empty[:0]
	return list
}

// done gives back what the commands counted.
func (q *queue) done(list []command) {
	n := 0
	for i := range list {
		n += list[i].cost()
	}
	q.mu.Lock()
	q.bytes -= n
	q.mu.Unlock()
}

// close refuses what comes from now on and returns what still waits.
func (q *queue) close(empty []command) []command {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.take(empty)
}
