package store

// An arena copies bytes into few allocations.
type arena struct {
	free []byte
	next int
}

// Blocks of an arena.
const (
	firstBlock = 512
	lastBlock  = 256 << 10
)

// copy returns a copy of b, which lives as long as it is referenced.
func (a *arena) copy(b []byte) []byte {
	if len(b) > len(a.free) {
		if len(b) >= lastBlock/4 {
			return append([]byte(nil), b...)
		}
		a.next = min(max(2*a.next, firstBlock), lastBlock)
		a.free = make([]byte, max(a.next, len(b)))
	}
	c := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(c, b)
	return c
}
