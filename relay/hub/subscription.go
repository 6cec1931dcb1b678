package hub

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Where a cursor is.
const (
	nowhere uint8 = iota
	inRing
	onFeed
)

// A subscription is a cursor: all that the hub keeps of one subscriber.
type subscription struct {
	// Set at construction.
	t      *topic
	wake   func()
	latest bool

	// Guarded by t.mu.
	place    uint8
	started  bool // at is known
	okDue    bool
	ahead    bool // at is beyond the ring's head: skip to it
	toldLost bool
	ended    bool
	closed   bool
	id       uint64         // of the next entry, in the ring or on the feed
	at       relay.Position // of the last entry passed
	feed     *feed
	extra    *extra
	in       *list
	prev     *subscription
	next     *subscription
	pins     []*chunk // lent until the next call
}

// extra is what most subscriptions need only until they have begun.
type extra struct {
	from    relay.Start
	barrier bool
	since   time.Time      // when it was asked for
	refused *relay.End     // instead of OK
	limit   uint64         // messages left; 0: endless
	stop    relay.Position // the head that OK named
}

var _ relay.Subscription = (*subscription)(nil)

// Next implements relay.Subscription. It allocates nothing but what dst and the list of lent
// chunks need to grow once.
func (s *subscription) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	s.unlend()
	if s.closed || s.ended || maxBytes <= 0 {
		return dst
	}
	if !s.started {
		switch {
		case t.end != nil:
			dst = s.finish(dst, t.end)
		case s.extra != nil && s.extra.refused != nil:
			dst = s.finish(dst, s.extra.refused)
		}
		return dst // still in the list it waits in
	}
	s.leave() // this call takes the place of the wake that was owed
	if s.okDue {
		s.okDue = false
		head := t.ring.head
		if head.Before(s.at) {
			head = s.at
		}
		if s.extra != nil {
			head = s.extra.stop
		}
		dst = append(dst, relay.Frame{Kind: relay.KindOK, At: s.at, Next: head})
	}
	if lost := t.lost(); lost != s.toldLost {
		s.toldLost = lost
		state := relay.Restored
		if lost {
			state = relay.Lost
		}
		dst = append(dst, relay.Frame{Kind: relay.KindStatus, State: state})
	}
	left := maxBytes
	for {
		if s.place == nowhere && !s.settle() {
			if t.end != nil {
				return s.finish(dst, t.end)
			}
			t.waiting.push(s)
			t.h.runq.schedule(t)
			return dst
		}
		r := &t.ring
		if s.place == onFeed {
			if s.feed.dead {
				s.leaveFeed()
				continue
			}
			if s.overlaps() {
				s.handOver()
				continue
			}
			r = &s.feed.ring
			s.feed.used = time.Now()
		}
		if s.id < r.tail {
			s.fellBehind()
			continue
		}
		dst, left = s.walk(r, dst, left)
		if s.extra != nil && (s.extra.limit == 0 || !s.at.Before(s.extra.stop)) {
			return s.finish(dst, &relay.End{})
		}
		if left <= 0 {
			return dst
		}
		if s.place == inRing {
			if t.end != nil {
				return s.finish(dst, t.end)
			}
			t.bell.arm(s)
			return dst
		}
		f := s.feed
		if f.end != nil {
			return s.finish(dst, f.end)
		}
		if s.overlaps() {
			continue
		}
		if f.done {
			// The newest of every key up to here was passed.
			if s.at.Before(f.through) {
				s.at = f.through
			}
			s.leaveFeed()
			if t.ring.head.Before(s.at) {
				t.placeInRing(s)
			}
			continue
		}
		f.bell.arm(s)
		if !f.want {
			f.want = true
			t.h.runq.schedule(t)
		}
		return dst
	}
}

// settle finds a place for a cursor that has none, and reports whether there is one now.
func (s *subscription) settle() bool {
	t := s.t
	if t.ring.covers(s.at) {
		t.placeInRing(s)
		return true
	}
	for _, f := range t.feeds {
		if f.known && f.admits(s) {
			s.place, s.feed, s.id = onFeed, f, f.ring.seek(s.at)
			f.subs++
			return true
		}
	}
	return false
}

// overlaps reports whether a cursor on a feed can go over to the ring: the ring covers it, or
// the feed has taken it to a message that the ring is still to get.
func (s *subscription) overlaps() bool {
	r, f := &s.t.ring, s.feed
	if r.covers(s.at) {
		return true
	}
	return r.head.Before(s.at) && s.id > 0 && f.known
}

func (s *subscription) handOver() {
	s.leaveFeed()
	s.t.placeInRing(s)
}

// due reports whether Next would give s a frame, or another place.
func (s *subscription) due() bool {
	t := s.t
	switch {
	case s.okDue, t.end != nil, s.started && s.toldLost != t.lost():
		return true
	case !s.started:
		return s.extra != nil && s.extra.refused != nil
	case s.place == inRing:
		return s.id < t.ring.next
	case s.place == onFeed:
		f := s.feed
		return s.id < f.ring.next || f.dead || f.done || f.end != nil || s.overlaps()
	}
	return true
}

// refuse ends s, which waits for an OK that only the upstream can give, if end is final or s has
// waited for as long as an answer may take. It reports whether it did.
func (s *subscription) refuse(end *relay.End, now time.Time) bool {
	if s.started || !s.t.h.final(end) && now.Sub(s.extra.since) < relay.AnswerWithin {
		return false
	}
	if s.place == onFeed {
		s.leaveFeed()
	}
	s.extra.refused = end
	s.t.bell.ring(s)
	return true
}

func (s *subscription) fellBehind() {
	s.t.h.count.fellBehind.Add(1)
	if s.place == onFeed {
		s.leaveFeed()
	}
	s.place = nowhere
}

// walk appends entries of r from the cursor on, and returns what is left of the bytes allowed.
func (s *subscription) walk(r *ring, dst []relay.Frame, left int) ([]relay.Frame, int) {
	if s.id < r.next {
		s.t.used.Store(r.budget.clock.Load())
	}
	for s.id < r.next && left > 0 {
		c := r.find(s.id)
		lent := false
		for i := int(s.id - c.first); i < len(c.entries) && left > 0; i++ {
			if s.extra != nil && (s.extra.limit == 0 || !s.at.Before(s.extra.stop)) {
				left = 0
				break
			}
			e := &c.entries[i]
			s.id++
			if s.ahead {
				if e.flags&back == 0 && !s.at.Before(e.at) {
					continue
				}
				s.ahead = false
			}
			if e.gap != 0 {
				dst = s.gap(c, e, dst)
				continue
			}
			s.at = e.at
			if s.latest && e.flags&superseded != 0 {
				continue
			}
			dst = append(dst, relay.Frame{Kind: relay.KindMessage, At: e.at, Body: c.buf[e.off : e.off+e.n : e.off+e.n]})
			left -= int(e.n)
			if s.extra != nil {
				s.extra.limit--
			}
			if !lent {
				lent = true
				c.pins++
				s.pins = append(s.pins, c)
			}
		}
	}
	return dst, left
}

// gap appends the gap e. What the subscriber holds beyond after still exists where messages were
// only removed; a subscriber in mode latest is told only of broken continuity.
func (s *subscription) gap(c *chunk, e *entry, dst []relay.Frame) []relay.Frame {
	after, next := c.gapOf(e)
	if e.gap != relay.GapEpoch && after.Before(s.at) {
		after = s.at
	}
	s.at = e.at
	if s.latest && e.gap != relay.GapEpoch {
		return dst
	}
	return append(dst, relay.Frame{Kind: relay.KindGap, At: after, Next: next, Reason: e.gap})
}

// finish appends the End.
func (s *subscription) finish(dst []relay.Frame, end *relay.End) []relay.Frame {
	s.ended = true
	s.depart()
	return append(dst, relay.Frame{Kind: relay.KindEnd, At: s.at, End: end})
}

// depart takes s out of every list.
func (s *subscription) depart() {
	s.leave()
	if s.place == onFeed {
		s.leaveFeed()
	}
	s.place = nowhere
}

func (s *subscription) unlend() {
	for i, c := range s.pins {
		s.t.h.budget.unpin(c)
		s.pins[i] = nil
	}
	s.pins = s.pins[:0]
}

// Close implements relay.Subscription.
func (s *subscription) Close() {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.unlend()
	s.pins = nil
	s.depart()
	t.h.count.subs.Add(-1)
	if s.latest {
		if t.latest--; t.latest == 0 {
			t.ring.unindex()
		}
	}
	if t.subs--; t.subs > 0 {
		return
	}
	if t.end != nil {
		t.ring.reset(t.ring.head)
	}
	t.h.runq.schedule(t)
}
