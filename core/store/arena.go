package store

import "sync"

// An arena copies bytes into few allocations.
type arena struct {
	// Set at construction.
	pool *blocks // that blocks come from; nil: none

	free []byte
	next int
	used []*block // to give back
}

// Sizes of what an arena allocates, in bytes.
const (
	firstBlock = 512
	lastBlock  = 64 << 10
)

// A block is what an arena uses again, if it may: whoever reads a history lends as many bytes as it
// reads, and to make and collect them anew costs as much as to read them.
type block [lastBlock]byte

// blocks are those that nobody uses. The collector takes what is not asked for.
type blocks struct{ pool sync.Pool }

func (p *blocks) get() *block {
	if b, ok := p.pool.Get().(*block); ok {
		return b
	}
	return new(block)
}

// copy returns a copy of b, which lives as long as it is referenced, or until reset.
func (a *arena) copy(b []byte) []byte {
	if len(b) > len(a.free) {
		if len(b) >= lastBlock/2 {
			return append([]byte(nil), b...)
		}
		a.grow(len(b))
	}
	c := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(c, b)
	return c
}

func (a *arena) grow(n int) {
	a.next = min(max(4*a.next, firstBlock), lastBlock)
	if a.next < lastBlock || a.pool == nil {
		a.free = make([]byte, max(a.next, n))
		return
	}
	b := a.pool.get()
	a.used = append(a.used, b)
	a.free = b[:]
}

// reset gives back all copies. Nobody may use them any more.
func (a *arena) reset() {
	for i, b := range a.used {
		a.pool.pool.Put(b)
		a.used[i] = nil
	}
	a.free, a.used = nil, a.used[:0]
}
