package hub

import (
	"container/heap"
	"sync"
	"sync/atomic"
)

// A budget bounds the bytes of all rings. Topics stand in a heap by when they were last used as
// far as the heap knows; who comes out on top but was used since goes back in, so that using a
// topic is one atomic store, and the choice is still the least recently used.
type budget struct {
	limit int64
	used  atomic.Int64 // bytes of all chunks, held ones included
	held  atomic.Int64 // bytes of chunks that no ring has any more
	clock atomic.Uint64

	mu    sync.Mutex
	byUse useHeap
}

// enlist makes t, whose ring has chunks, one to take from.
func (b *budget) enlist(t *topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !t.enlisted {
		t.enlisted, t.placed = true, t.used.Load()
		heap.Push(&b.byUse, t)
	}
}

// victim takes the least recently used topic off the heap; nil: there is none.
func (b *budget) victim() *topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.byUse) > 0 {
		t := b.byUse[0]
		if used := t.used.Load(); used > t.placed {
			t.placed = used
			heap.Fix(&b.byUse, 0)
			continue
		}
		heap.Pop(&b.byUse)
		t.enlisted = false
		return t
	}
	return nil
}

// reclaim drops chunks until the rings fit. What subscribers hold and what feeds have cannot be
// taken: with nothing else left it stops. Called without locks.
func (h *Hub) reclaim() {
	b := &h.budget
	for b.used.Load() > b.limit {
		t := b.victim()
		if t == nil {
			return
		}
		t.mu.Lock()
		if len(t.ring.chunks) > 0 {
			t.ring.drop()
			h.count.evicted.Add(1)
		}
		more := len(t.ring.chunks) > 0
		t.mu.Unlock()
		if more {
			b.enlist(t)
		}
	}
}

type useHeap []*topic

func (h useHeap) Len() int           { return len(h) }
func (h useHeap) Less(i, j int) bool { return h[i].placed < h[j].placed }
func (h useHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *useHeap) Push(x any)        { *h = append(*h, x.(*topic)) }
func (h *useHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
