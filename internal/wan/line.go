package wan

import (
	"container/heap"
	"context"
	"net/netip"
	"sync"
	"time"
)

// A line holds bytes until they are due. It is bounded: add refuses past the bound.
type line struct {
	// Set at construction.
	bound int
	wake  chan struct{} // one slot
	room  chan struct{} // one slot

	// Guarded by mu.
	mu    sync.Mutex
	items items
	added uint64
	last  time.Time // nothing but what is late is due before it
	bytes int       // invariant: the sum of len(items[i].data), and of what is being sent
}

type item struct {
	due  time.Time
	n    uint64 // among those due at once, the order in which they came
	data []byte
	from netip.AddrPort // of a packet between places; else none
}

// items is a heap: the first is due next.
type items []item

func (s items) Len() int { return len(s) }
func (s items) Less(i, j int) bool {
	return s[i].due.Before(s[j].due) || s[i].due.Equal(s[j].due) && s[i].n < s[j].n
}
func (s items) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *items) Push(x any)   { *s = append(*s, x.(item)) }
func (s *items) Pop() any {
	old := *s
	x := old[len(old)-1]
	old[len(old)-1] = item{}
	*s = old[:len(old)-1]
	return x
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

// add takes data, which the caller must not touch again; false: there is no room. What was added
// before is not overtaken, unless it is late.
func (l *line) add(data []byte, due time.Time, late bool) bool {
	return l.addFrom(netip.AddrPort{}, data, due, late)
}

func (l *line) addFrom(from netip.AddrPort, data []byte, due time.Time, late bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes > 0 && l.bytes+len(data) > l.bound {
		return false
	}
	if !late {
		if due.Before(l.last) {
			due = l.last
		}
		l.last = due
	}
	l.added++
	heap.Push(&l.items, item{due: due, n: l.added, data: data, from: from})
	l.bytes += len(data)
	poke(l.wake)
	return true
}

// addWait is add that waits for room; it returns false when ctx is done.
func (l *line) addWait(ctx context.Context, data []byte, due time.Time) bool {
	for !l.add(data, due, false) {
		select {
		case <-l.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// run hands every item to send when it is due, until ctx is done or send returns false.
func (l *line) run(ctx context.Context, send func(item) bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		wait := time.Duration(-1)
		var next item
		if len(l.items) > 0 {
			if wait = time.Until(l.items[0].due); wait <= 0 {
				next = heap.Pop(&l.items).(item)
			}
		}
		l.mu.Unlock()

		switch {
		case next.data != nil:
			if ctx.Err() != nil || !send(next) {
				return
			}
			l.mu.Lock()
			l.bytes -= len(next.data)
			l.mu.Unlock()
			poke(l.room)
			continue
		case wait > 0:
			timer.Reset(wait)
		}
		select {
		case <-timer.C: // or an earlier one's, which costs a round
		case <-l.wake: // something may be due before what was first
		case <-ctx.Done():
			return
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
