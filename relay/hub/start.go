package hub

import "github.com/meridian-relay/meridian/relay"

// begin gives a new subscription its place, or a list to wait in.
func (t *topic) begin(s *subscription) {
	if t.known {
		t.start(s)
	} else {
		t.starting.push(s)
	}
}

// start resolves where s begins, once the upstream has said OK.
//
// A live start is answered with the ring's head (P4): a publish that starts after this answer is
// ordered after every message that the home had then, and so after the head, which is one of
// them or before; the ring gets everything after its head, also across a loss, because the
// upstream subscription is resumed there.
func (t *topic) start(s *subscription) {
	x := s.extra
	if x == nil {
		t.startAt(s, t.ring.head)
		return
	}
	if x.from.Kind == relay.StartLive && x.barrier {
		t.barrier.push(s)
		return
	}
	if x.from.Kind == relay.StartAfter {
		t.startAt(s, x.from.After)
		return
	}
	if p, ok := t.within(&x.from); ok && !x.barrier {
		t.startAt(s, p)
		return
	}
	t.waiting.push(s)
}

// startAt begins s at p, known to the home or claimed by the subscriber: what the ring does not
// cover comes from a feed, whose upstream judges p. A live start beyond the head, from a
// barrier, is the home's word, and the ring will get there.
func (t *topic) startAt(s *subscription, p relay.Position) {
	claimed := s.extra != nil && s.extra.from.Kind == relay.StartAfter
	s.at, s.started, s.okDue = p, true, true
	if s.extra != nil && s.extra.limit == 0 {
		s.extra = nil
	}
	if t.ring.covers(p) || !claimed && t.ring.head.Before(p) {
		t.placeInRing(s)
	}
	t.bell.ring(s)
}

// placeInRing puts the cursor behind its position, which is not before the ring's base.
func (t *topic) placeInRing(s *subscription) {
	s.place = inRing
	s.id = t.ring.seek(s.at)
	s.ahead = t.ring.head.Before(s.at)
}

// within decides from the ring where a start begins, if it can exactly. Of since it cannot: only
// the home's clock says what is younger.
func (t *topic) within(from *relay.Start) (relay.Position, bool) {
	r := &t.ring
	switch from.Kind {
	case relay.StartLive:
		return r.head, true
	case relay.StartAfter:
		return from.After, r.covers(from.After)
	case relay.StartFirst:
		return r.base, r.base.IsZero()
	case relay.StartLast:
		left := from.Count
		id := r.next
		for ; id > r.posFrom && left > 0; id-- {
			c := r.find(id - 1)
			e := &c.entries[id-1-c.first]
			if e.gap == relay.GapEpoch {
				return relay.Position{}, false
			}
			if e.gap == 0 {
				left--
			}
		}
		if left > 0 {
			return r.base, r.base.IsZero()
		}
		return r.behind(id), true
	}
	return relay.Position{}, false
}

// behind returns the position before the entry id, or the head.
func (r *ring) behind(id uint64) relay.Position {
	if id == r.next {
		return r.head
	}
	return r.before(id)
}
