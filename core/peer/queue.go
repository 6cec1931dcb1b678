package peer

import (
	"sync"

	"github.com/meridian-relay/meridian/core/shard"
)

// A queue holds messages for one node. It is bounded: add refuses past the bounds.
type queue struct {
	// set at construction
	maxItems, maxBytes int
	wake               chan struct{} // one slot

	mu    sync.Mutex
	items []shard.Message // items[head:] wait
	head  int
	bytes int // invariant: the sum of sizeOf(items[head:])
}

func newQueue(maxItems, maxBytes int) *queue {
	return &queue{maxItems: maxItems, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// add appends a message; false: there is no room. One that is larger than the queue has room in
// an empty one.
func (q *queue) add(m *shard.Message) bool {
	size := sizeOf(m)
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.items) - q.head
	if n >= q.maxItems || n > 0 && q.bytes+size > q.maxBytes {
		return false
	}
	if q.head > 0 && len(q.items) == cap(q.items) {
		rest := copy(q.items, q.items[q.head:])
		clear(q.items[rest:])
		q.items, q.head = q.items[:rest], 0
	}
	q.items = append(q.items, *m)
	q.bytes += size
	poke(q.wake)
	return true
}

// take moves messages to dst: at least one if there is one, and about maxBytes.
func (q *queue) take(dst []shard.Message, maxBytes int) []shard.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for taken := 0; q.head < len(q.items) && taken < maxBytes; q.head++ {
		m := &q.items[q.head]
		size := sizeOf(m)
		if taken > 0 && taken+size > maxBytes {
			break
		}
		taken += size
		q.bytes -= size
		dst = append(dst, *m)
		*m = shard.Message{}
	}
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 1024 {
			q.items = nil
		}
	}
	return dst
}

// size returns how many messages wait, and their bytes.
func (q *queue) size() (items, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head, q.bytes
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
