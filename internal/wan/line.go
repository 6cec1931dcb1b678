package wan

import (
	"context"
	"sync"
	"time"
)

// A line holds bytes until they are due, in order. It is bounded: add refuses past the bound.
type line struct {
	// Set at construction.
	bound int
	wake  chan struct{} // one slot
	room  chan struct{} // one slot

	// Guarded by mu.
	mu    sync.Mutex
	items []item
	bytes int // invariant: the sum of len(items[i].data), and of what is being sent
}

type item struct {
	due  time.Time
	data []byte
}

func newLine(bound int) *line {
	return &line{bound: bound, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// empty reports whether nothing is under way, so that nothing can be overtaken.
func (l *line) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.items) == 0 && l.bytes == 0
}

// add takes data, which the caller must not touch again; false: there is no room.
func (l *line) add(data []byte, due time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes > 0 && l.bytes+len(data) > l.bound {
		return false
	}
	l.items = append(l.items, item{due, data})
	l.bytes += len(data)
	poke(l.wake)
	return true
}

// addWait is add that waits for room; it returns false when ctx is done.
func (l *line) addWait(ctx context.Context, data []byte, due time.Time) bool {
	for !l.add(data, due) {
		select {
		case <-l.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// run hands every item to send when it is due, until ctx is done or send returns false.
func (l *line) run(ctx context.Context, send func([]byte) bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		var wait time.Duration = -1
		var next item
		if len(l.items) > 0 {
			next = l.items[0]
			if wait = time.Until(next.due); wait <= 0 {
				l.items[0] = item{}
				l.items = l.items[1:]
			}
		}
		l.mu.Unlock()

		switch {
		case next.data == nil:
			select {
			case <-l.wake:
			case <-ctx.Done():
				return
			}
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		default:
			if ctx.Err() != nil || !send(next.data) {
				return
			}
			l.mu.Lock()
			l.bytes -= len(next.data)
			l.mu.Unlock()
			poke(l.room)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
