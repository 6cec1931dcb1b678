package peer

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// handouts follows snapshots from their announcement to their end, so that a leader does not wait
// for a member for ever.
type handouts struct {
	// set at construction
	patience time.Duration
	ended    func(r shard.Replica, by shard.Number, err error)

	mu     sync.Mutex
	open   map[handoutKey]*handout // at most maxHandouts
	closed bool
}

type handoutKey struct {
	shard shard.ID
	by    shard.Number
}

// A handout is one snapshot for one member.
type handout struct {
	replica shard.Replica // of this node
	timer   *time.Timer   // runs while nobody reads
	streams int
	name    uint64 // of what was announced last
}

const maxHandouts = 4096

var (
	errNotSent  = errors.New("the message that announces the snapshot was dropped")
	errNotAsked = errors.New("the member did not fetch the snapshot")
)

func newHandouts(patience time.Duration, ended func(shard.Replica, shard.Number, error)) *handouts {
	return &handouts{patience: patience, ended: ended, open: make(map[handoutKey]*handout)}
}

// announce notes that a message announces a snapshot. A reminder of the same one gives the member
// no more time: what is frozen for it takes room on the disk.
func (h *handouts) announce(r shard.Replica, by shard.Number, name uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	key := handoutKey{r.Shard, by}
	o := h.open[key]
	switch {
	case o == nil && len(h.open) >= maxHandouts:
		time.AfterFunc(0, func() { h.ended(r, by, shard.ErrBusy) })
	case o == nil:
		o = &handout{}
		o.timer = time.AfterFunc(h.patience, func() {
			h.expire(key, o)
		})
		h.open[key] = o
	case o.streams == 0 && (o.name != name || o.replica != r):
		o.timer.Reset(h.patience)
	}
	if o != nil {
		o.replica, o.name = r, name
	}
}

func (h *handouts) expire(key handoutKey, o *handout) {
	h.mu.Lock()
	if h.open[key] != o || o.streams > 0 || h.closed {
		h.mu.Unlock()
		return
	}
	delete(h.open, key)
	h.mu.Unlock()
	h.ended(o.replica, key.by, fmt.Errorf("%w within %v", errNotAsked, h.patience))
}

// lost notes that the message was dropped. The answer comes from a goroutine of its own: the
// caller may be whom it is for.
func (h *handouts) lost(r shard.Replica, by shard.Number) {
	time.AfterFunc(0, func() {
		key := handoutKey{r.Shard, by}
		h.mu.Lock()
		o := h.open[key]
		if h.closed || o != nil && o.streams > 0 { // it reads an earlier one
			h.mu.Unlock()
			return
		}
		if o != nil {
			o.timer.Stop()
			delete(h.open, key)
		}
		h.mu.Unlock()
		h.ended(r, by, errNotSent)
	})
}

// begin notes that a member reads.
func (h *handouts) begin(key handoutKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.open[key]; o != nil {
		o.streams++
		o.timer.Stop()
	}
}

// cut notes that a member's stream ended in the middle: it may come back.
func (h *handouts) cut(key handoutKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.open[key]; o != nil {
		if o.streams--; o.streams <= 0 {
			o.streams = 0
			o.timer.Reset(h.patience)
		}
	}
}

// end tells the leader, once.
func (h *handouts) end(key handoutKey, err error) {
	h.mu.Lock()
	o := h.open[key]
	if o == nil || h.closed {
		h.mu.Unlock()
		return
	}
	o.timer.Stop()
	delete(h.open, key)
	h.mu.Unlock()
	h.ended(o.replica, key.by, err)
}

// close stops all timers; nobody is told any more.
func (h *handouts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, o := range h.open {
		o.timer.Stop()
	}
}
