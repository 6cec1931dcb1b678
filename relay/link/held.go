package link

import "sync"

const (
	chunkSize = 16 << 10 // bytes of messages that are held together
	leastSize = 512      // of a quiet subscription's first chunk
)

// A chunk holds bodies that follow each other.
type chunk struct {
	buf   []byte // within its capacity: its part in use is not written again
	put   int    // bodies that it got
	taken int    // of which Next returned
}

// chunks holds those that are used again. The collector takes what is not asked for.
var chunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, 0, chunkSize)} }}

// held is where the bodies of a history stand until they are not lent any more.
//
// To make and collect as many bytes as there are in a history costs more than to fill them: chunks
// are used again. Invariant: a chunk is in list from its first body until all its bodies were taken
// and another one is being filled, then in lent until the next call of Next.
type held struct {
	list []*chunk // the last one is being filled
	lent []*chunk
}

// keep copies body to where it can be lent from.
func (h *held) keep(body []byte) []byte {
	var c *chunk
	if n := len(h.list); n > 0 {
		c = h.list[n-1]
	}
	if c == nil || len(body) > cap(c.buf)-len(c.buf) {
		if len(body) <= chunkSize {
			c = chunks.Get().(*chunk)
		} else {
			c = &chunk{buf: make([]byte, 0, len(body))}
		}
		h.list = append(h.list, c)
	}
	n := len(c.buf)
	c.buf = append(c.buf, body...)
	c.put++
	return c.buf[n:len(c.buf):len(c.buf)]
}

// take counts n bodies, the oldest, as taken.
func (h *held) take(n int) {
	done := 0
	for _, c := range h.list {
		now := min(n, c.put-c.taken)
		c.taken += now
		n -= now
		if c.taken < c.put || done == len(h.list)-1 {
			break
		}
		done++
	}
	h.lent = append(h.lent, h.list[:done]...)
	k := copy(h.list, h.list[done:])
	clear(h.list[k:])
	h.list = h.list[:k]
}

// back ends what is lent.
func (h *held) back() {
	for i, c := range h.lent {
		h.lent[i] = nil
		if cap(c.buf) == chunkSize {
			*c = chunk{buf: c.buf[:0]}
			chunks.Put(c)
		}
	}
	h.lent = h.lent[:0]
}
