package core

import (
	"sync"

	"github.com/meridian-relay/meridian/core/shard"
)

// inboxBytes bounds the messages from peers that the runner has not taken, and inboxEntries the
// entries among them, so that votes and heartbeats find room when those do not; past it who
// sends entries waits, and the others are dropped: raft sends them again.
const (
	inboxEntries = 64 << 20
	inboxBytes   = inboxEntries + 16<<20
	messageCost  = 256 // what a message takes besides its entries
)

// events are what the Host has to be told, in order within a kind.
type events struct {
	written  []*shard.Write
	applied  []*shard.Apply
	received []received
	calls    []call
	flushed  bool
	bytes    int
}

type received struct {
	from     shard.Node
	messages []shard.Message
}

// A call is run on the Host's goroutine, or, if that ends before, gone is.
type call struct {
	run  func(*shard.Host)
	gone func()
}

// An inbox gathers events for the runner. What was handed out bounds what comes back; messages
// are bounded in bytes; calls by who makes them. Safe for concurrent use.
type inbox struct {
	signal chan struct{} // there is something; shared with the queue

	mu      sync.Mutex
	next    events
	closed  bool
	dropped uint64
	room    sync.Cond // there may be room again, or nobody takes any more
}

func (in *inbox) notify() {
	select {
	case in.signal <- struct{}{}:
	default:
	}
}

func (in *inbox) put(add func(*events)) {
	in.mu.Lock()
	add(&in.next)
	in.mu.Unlock()
	in.notify()
}

func (in *inbox) written(w *shard.Write) {
	in.put(func(e *events) { e.written = append(e.written, w) })
}

func (in *inbox) applied(a *shard.Apply) {
	in.put(func(e *events) { e.applied = append(e.applied, a) })
}

func (in *inbox) flushed() { in.put(func(e *events) { e.flushed = true }) }

// receive takes messages of a peer, all of them urgent or all of them bulk.
func (in *inbox) receive(from shard.Node, messages []shard.Message) {
	size, most := messageCost*len(messages), inboxBytes
	for i := range messages {
		if m := messages[i].Raft; m != nil {
			for _, e := range m.GetEntries() {
				size += 64 + len(e.GetData())
				most = inboxEntries
			}
		}
	}
	in.mu.Lock()
	if len(messages) > 0 && messages[0].Bulk() {
		// Who sends entries waits, and keeps what it has yet to send, until the runner has taken
		// these; it waits for nobody who sends. Dropped, they would be sent again, and again.
		in.room.L = &in.mu
		for in.next.bytes+size > most && in.next.bytes > 0 && !in.closed {
			in.room.Wait()
		}
	}
	if in.closed {
		in.mu.Unlock()
		return
	}
	if in.next.bytes+size > most && in.next.bytes > 0 {
		in.dropped += uint64(len(messages))
		in.mu.Unlock()
		return
	}
	in.next.bytes += size
	in.next.received = append(in.next.received, received{from, messages})
	in.mu.Unlock()
	in.notify()
}

// ask has call run on the Host's goroutine; gone, which may be nil, where there is none any more.
func (in *inbox) ask(run func(*shard.Host), gone func()) {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		if gone != nil {
			gone()
		}
		return
	}
	in.next.calls = append(in.next.calls, call{run, gone})
	in.mu.Unlock()
	in.notify()
}

// take returns what came and leaves the empty one to be filled.
func (in *inbox) take(empty events) events {
	clear(empty.written)
	clear(empty.applied)
	clear(empty.received)
	clear(empty.calls)
	empty = events{
		written: empty.written[:0], applied: empty.applied[:0],
		received: empty.received[:0], calls: empty.calls[:0],
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	got := in.next
	in.next = empty
	in.room.Broadcast()
	return got
}

// close lets go of those who still ask.
func (in *inbox) close() {
	in.mu.Lock()
	in.closed = true
	in.room.Broadcast()
	calls := in.next.calls
	in.next.calls = nil
	in.mu.Unlock()
	for _, c := range calls {
		if c.gone != nil {
			c.gone()
		}
	}
}
