package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A topic is what the hub keeps of one channel. Lock order: shard, topic, then runq, alarms,
// slots or budget.
type topic struct {
	// Set at construction.
	h       *Hub
	channel relay.Channel

	// Owned by the turn.
	live    *source // the subscription that the ring is filled from; nil: to be opened
	old     *source // its predecessor, served until the successor's OK or its deadline
	retry   retry
	opened  time.Time      // when live was first opened
	hole    relay.Position // the last message that did not follow
	queries []*query
	asking  retry
	empty   time.Time // since when nobody listens
	gone    bool      // finished

	mu sync.Mutex
	// Guarded by mu.
	ring     ring
	known    bool // the upstream said OK: the ring has a base
	cut      bool // no upstream subscription serves
	upLost   bool // it says that the way is interrupted further up
	end      *relay.End
	subs     int
	latest   int // of subs
	bell     bell
	starting list // before the upstream's OK
	barrier  list // before a query is sent for them
	waiting  list // for a feed
	feeds    []*feed

	// Guarded by runq.mu.
	state uint8
	after *topic

	// Guarded by alarms.mu.
	alarm   time.Time
	alarmAt int

	slotted bool        // guarded by slots.mu: waits for a slot
	offered atomic.Bool // a slot, which the next turn takes or passes on

	used     atomic.Uint64 // when it was last used, by the budget's clock
	placed   uint64        // guarded by budget.mu, as is enlisted
	enlisted bool
}

func newTopic(h *Hub, ch relay.Channel) *topic {
	t := &topic{h: h, channel: ch}
	t.ring.budget, t.ring.most = &h.budget, int64(h.cfg.RingBytes)
	return t
}

// A worker runs turns.
type worker struct {
	h      *Hub
	now    time.Time
	due    time.Time // when the topic wants its next turn; zero: when woken
	frames []relay.Frame
	wakes  []func()
}

const (
	wakeBatch   = 256 // wakes gathered under one hold of the lock
	wakeBatches = 8   // of one turn
)

// turn does what t has to do, boundedly, and reports whether there is more.
func (w *worker) turn(t *topic) bool {
	if w.wake(t) {
		return true
	}
	if t.gone {
		w.passOn(t)
		return false
	}
	w.now, w.due = time.Now(), time.Time{}
	again := w.turnLive(t)
	if !t.gone {
		again = w.turnQueries(t) || again
		again = w.turnFeeds(t) || again
		w.turnLinger(t)
	}
	w.passOn(t)
	if w.h.budget.used.Load() > w.h.budget.limit {
		w.h.reclaim()
	}
	if !t.gone {
		w.h.alarms.set(t, w.due)
	}
	return w.wake(t) || again
}

// passOn lets the next have the slot that t was offered; if t took it there may be another.
func (w *worker) passOn(t *topic) {
	if t.offered.Swap(false) {
		w.h.slots.offer(&w.h.runq)
	}
}

// at asks for a turn at the time given.
func (w *worker) at(t time.Time) {
	if w.due.IsZero() || t.Before(w.due) {
		w.due = t
	}
}

// wake calls who is due, boundedly, and reports whether there are more. Nothing is locked during
// the calls.
func (w *worker) wake(t *topic) bool {
	for range wakeBatches {
		t.mu.Lock()
		w.gather(&t.bell)
		for _, f := range t.feeds {
			w.gather(&f.bell)
		}
		t.mu.Unlock()
		if len(w.wakes) == 0 {
			return false
		}
		for _, wake := range w.wakes {
			wake()
		}
		w.h.count.wakes.Add(uint64(len(w.wakes)))
		clear(w.wakes)
		w.wakes = w.wakes[:0]
	}
	return true
}

func (w *worker) gather(b *bell) {
	for len(w.wakes) < wakeBatch {
		s := b.next()
		if s == nil {
			return
		}
		if !s.due() {
			b.arm(s) // it has read what the news was
			continue
		}
		w.wakes = append(w.wakes, s.wake)
	}
}

// turnLinger lets go of a topic that nobody has listened to for a while.
func (w *worker) turnLinger(t *topic) {
	t.mu.Lock()
	listened := t.subs > 0
	t.mu.Unlock()
	if listened {
		t.empty = time.Time{}
		return
	}
	if t.empty.IsZero() {
		t.empty = w.now
	}
	over := t.empty.Add(w.h.cfg.Linger)
	if w.now.Before(over) && t.live != nil {
		w.at(over)
		return
	}
	if w.h.remove(t, false) {
		w.finish(t, relay.End{Code: relay.Cancelled})
	}
}

// finish ends t for everybody: who is in the ring reads on to its head.
func (w *worker) finish(t *topic, end relay.End) {
	w.h.remove(t, true)
	t.gone = true
	t.mu.Lock()
	if t.end == nil {
		t.end = &end
	}
	feeds := t.feeds
	t.feeds = nil
	for _, f := range feeds {
		t.release(f)
		w.ringAll(t, &f.bell.lists[0], &f.bell.lists[1])
	}
	for _, q := range t.queries {
		w.ringAll(t, &q.asked)
	}
	w.ringAll(t, &t.starting, &t.barrier, &t.waiting)
	t.bell.all()
	if t.cut {
		w.h.count.lostTopics.Add(-1)
	}
	if t.subs == 0 {
		t.ring.reset(t.ring.head)
	}
	t.mu.Unlock()
	for _, s := range []*source{t.live, t.old} {
		if s != nil {
			s.sub.Close()
		}
	}
	t.live, t.old = nil, nil
	for _, q := range t.queries {
		q.src.sub.Close()
	}
	t.queries = nil
	for _, f := range feeds {
		w.shut(f)
	}
	w.h.alarms.set(t, time.Time{})
}

// ringAll makes everyone in the lists due.
func (w *worker) ringAll(t *topic, lists ...*list) {
	for _, l := range lists {
		for l.head != nil {
			t.bell.ring(l.head)
		}
	}
}

// setCut notes whether an upstream subscription serves; every subscriber learns of a change.
func (t *topic) setCut(cut bool) {
	if t.cut == cut {
		return
	}
	t.cut = cut
	if cut {
		t.h.count.lostTopics.Add(1)
	} else {
		t.h.count.lostTopics.Add(-1)
	}
	t.bell.all()
	for _, f := range t.feeds {
		f.bell.all()
	}
}

// lost reports whether the way to the home is interrupted, here or further up.
func (t *topic) lost() bool { return t.cut || t.upLost }
