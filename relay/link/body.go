package link

import (
	"slices"
	"sync"
)

// Sizes of the bodies that are used again, in bytes. Shorter ones are cheap, longer ones rare.
var bodySizes = [...]int{4 << 10, 16 << 10, 72 << 10}

const shortBody = 1 << 10

var bodies [len(bodySizes)]sync.Pool // of *body

// A body is the copy of a publish's body, lent upstream until its answer. Copies of some KB are
// used again: at 10 MB/s they would be a third of all garbage, and its collection is what
// messages of other channels wait for.
type body struct {
	bytes []byte
	pool  *sync.Pool
}

// holdBody returns a copy of b, and what to release with the answer; nil: nothing.
func holdBody(b []byte) ([]byte, *body) {
	if len(b) > shortBody {
		for i, size := range bodySizes {
			if len(b) > size {
				continue
			}
			h, ok := bodies[i].Get().(*body)
			if !ok {
				h = &body{bytes: make([]byte, 0, size), pool: &bodies[i]}
			}
			h.bytes = append(h.bytes[:0], b...)
			return h.bytes, h
		}
	}
	return slices.Clone(b), nil
}

func (h *body) release() {
	if h != nil {
		h.pool.Put(h)
	}
}
