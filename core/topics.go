package core

import (
	"sync"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// topics holds who waits for what. A channel has a topic only while somebody waits for it.
type topics struct {
	// Set at construction.
	most int

	kept kept

	mu      sync.Mutex
	armed   map[relay.Channel]*subscription // lists by next and prev
	count   int
	stopped bool
}

func (t *topics) init(most int) {
	t.most = most
	t.armed = make(map[relay.Channel]*subscription)
}

// subscribe opens a subscription on a source.
func (t *topics) subscribe(src source, r relay.SubscribeRequest, wake func()) *subscription {
	s := &subscription{topics: t, source: src, request: r, wake: wake}
	t.mu.Lock()
	if t.count++; t.count > t.most {
		s.refusal = &relay.End{Code: relay.Busy, Detail: "too many subscriptions are open at the home"}
	}
	refused := s.refusal != nil
	t.mu.Unlock()
	if refused || !r.Barrier || !s.await() {
		wake()
	}
	return s
}

// An arming is what a subscription has to know before it reads.
type arming struct {
	end   *relay.End // instead of reading
	last  *relay.End // after reading
	waits bool       // for a barrier
	lost  bool
	birth birth
}

// arm makes the next message of s's channel wake it.
func (t *topics) arm(s *subscription) arming {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := arming{end: s.refusal, waits: s.waits, birth: s.birth}
	if t.stopped {
		a.last = &relay.End{Code: relay.Unavailable, Detail: "the home is shutting down"}
	}
	if a.end == nil {
		a.lost, a.end = s.source.standing()
	}
	if a.end != nil || a.waits {
		return a
	}
	if s.birth = 0; s.armed || s.closed {
		return a
	}
	ch := s.request.Channel
	if s.next = t.armed[ch]; s.next != nil {
		s.next.prev = s
	}
	t.armed[ch] = s
	s.armed = true
	return a
}

// disarm takes s out of its topic's list.
func (t *topics) disarm(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unlist(s)
}

func (t *topics) unlist(s *subscription) {
	if !s.armed {
		return
	}
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.next != nil:
		t.armed[s.request.Channel] = s.next
	default:
		delete(t.armed, s.request.Channel)
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev, s.armed = nil, nil, false
}

// remove forgets s.
func (t *topics) remove(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	t.count--
	t.unlist(s)
}

// collect appends the armed subscriptions of the channels touched in src to list, for wakeAll. It
// is called when what touched them can be read.
func (t *topics) collect(src source, touched []shard.Touched, list []*subscription) []*subscription {
	if len(touched) == 0 {
		return list
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.armed) == 0 {
		return list
	}
	for _, c := range touched {
		list = t.takeList(c.Channel, src, birth(c.Epoch), list)
	}
	return list
}

// takeList takes the subscriptions of a channel that read src; nil: any. Without a birth they stay
// armed: what comes before they read has to tell them theirs, and another wake does no harm.
func (t *topics) takeList(ch relay.Channel, src source, b birth, list []*subscription) []*subscription {
	for s := t.armed[ch]; s != nil; {
		next := s.next
		if src == nil || s.source == src {
			if b != 0 {
				t.unlist(s)
				s.birth = b
			}
			list = append(list, s)
		}
		s = next
	}
	return list
}

// wakeAll wakes who was collected, outside all locks, and returns the empty list.
func wakeAll(list []*subscription) []*subscription {
	for i, s := range list {
		s.wake()
		list[i] = nil
	}
	return list[:0]
}

// rouse wakes everybody who reads src, so that it looks at its standing; nil: everybody. b is
// what became of channels that were not there.
func (t *topics) rouse(src source, b birth) {
	var list []*subscription
	t.mu.Lock()
	for ch := range t.armed {
		list = t.takeList(ch, src, b, list)
	}
	t.mu.Unlock()
	wakeAll(list)
}

// stop wakes everybody; who reads on finds an End.
func (t *topics) stop() {
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.rouse(nil, 0)
	t.kept.close()
}
