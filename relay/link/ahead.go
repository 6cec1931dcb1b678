package link

import (
	"sync"
	"sync/atomic"
)

const (
	largeSize = 68 << 10 // bytes that leave together in a large turn: half of one
	larges    = 3        // buffers of a lane that reads ahead: one fills, one waits, one leaves
)

// An Ahead bounds how many lanes read ahead: as long as a lane's turns are large, the next one is
// read while the last one leaves. Else a disk would wait for the network, and the network for the
// disk. Each lane takes 204 KB meanwhile. Safe for concurrent use.
type Ahead struct{ room chan struct{} }

// NewAhead returns an Ahead for so many lanes at once.
func NewAhead(lanes int) *Ahead { return &Ahead{make(chan struct{}, lanes)} }

func (a *Ahead) take() bool {
	if a == nil {
		return false
	}
	select {
	case a.room <- struct{}{}:
		return true
	default:
		return false
	}
}

// A sender writes a lane's stream while the lane's writer reads on. It runs between ahead and join,
// and only then does somebody else than the writer write. Control frames go before each buffer.
type sender struct {
	// Set at construction.
	of    *Ahead
	bufs  *[larges]large
	small []byte        // what the writer fills without a sender
	full  chan []byte   // in order; closed: that was all
	free  chan []byte   // to be filled
	done  chan struct{} // closed at the end

	err    error       // of the first write that failed; owned by send until done
	failed atomic.Bool // there is one: to read on is of no use
}

type large [largeSize]byte

var largeBufs = sync.Pool{New: func() any { return new([larges]large) }}

// ahead starts a sender, if of has room for one more, and returns what to fill instead of b.
func (l *lane) ahead(of *Ahead, b []byte) []byte {
	if l.sender != nil || !of.take() {
		return b
	}
	h := &sender{
		of: of, bufs: largeBufs.Get().(*[larges]large), small: b[:0],
		full: make(chan []byte, larges-2), free: make(chan []byte, larges), done: make(chan struct{}),
	}
	for i := range h.bufs[1:] {
		h.free <- h.bufs[1+i][:0]
	}
	l.sender = h
	go l.send(h)
	return append(h.bufs[0][:0], b...)
}

// join writes b, waits until all is written, and returns what to fill instead of b.
func (l *lane) join(b []byte) ([]byte, error) {
	h := l.sender
	if h == nil {
		return b, nil
	}
	if len(b) > 0 {
		l.wrote = true
		h.full <- b
	}
	close(h.full)
	<-h.done
	l.sender = nil
	largeBufs.Put(h.bufs)
	<-h.of.room
	return h.small, h.err
}

// send writes what comes, until a write fails: from then on it only gives buffers back.
func (l *lane) send(h *sender) {
	defer close(h.done)
	for b := range h.full {
		if h.err == nil {
			if _, h.err = l.controlled(nil); h.err == nil {
				h.err = l.put(b)
			}
			h.failed.Store(h.err != nil)
		}
		h.free <- b[:0]
	}
}
