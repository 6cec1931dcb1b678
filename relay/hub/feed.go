package hub

import (
	"slices"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// How long a feed stays open when nobody reads on; its cursors keep their positions.
const (
	feedIdle    = 5 * time.Second
	feedYield   = time.Second            // where the process has no slot left
	feedGiveWay = 100 * time.Millisecond // where somebody of the same channel waits
)

// A feed catches up: an upstream subscription from an older position, read only as far as the
// foremost cursor on it wants, into a small ring that its cursors share.
//
// A feed in mode latest has one cursor. It is a limited subscription, so that its End says that
// the newest of every key up to the head that OK named has come: the cursor goes on there,
// though nothing may have come at all.
type feed struct {
	// Set at construction.
	t       *topic
	start   relay.Start
	latest  bool
	barrier bool

	// Owned by the turn.
	src   *source
	retry retry
	hole  relay.Position

	// Guarded by the topic's mutex.
	ring    ring
	known   bool           // the upstream said OK
	through relay.Position // mode latest: the head that OK named
	done    bool           // mode latest: everything up to there was read
	subs    int
	bell    bell
	want    bool // a cursor is at the head
	end     *relay.End
	dead    bool      // given up: its cursors look for another place
	used    time.Time // when somebody last read
}

// turnFeeds opens feeds for those who wait, reads them and closes them.
func (w *worker) turnFeeds(t *topic) bool {
	t.mu.Lock()
	w.admit(t)
	idle := len(t.feeds) == 0
	t.mu.Unlock()
	if idle {
		return false
	}
	again := false
	for _, f := range slices.Clone(t.feeds) { // only turns change the list
		t.mu.Lock()
		unread := f.bell.empty()
		over := f.subs == 0 || unread && w.feedOver(t, f)
		switch {
		case unread:
		case t.waiting.head != nil: // it may be unread as soon as those on it were woken
			w.at(w.now.Add(feedGiveWay))
		default:
			w.at(w.now.Add(feedYield))
		}
		pull := f.want || !f.known
		if over {
			t.release(f)
			t.feeds = slices.DeleteFunc(t.feeds, func(o *feed) bool { return o == f })
		}
		ended := f.end != nil || f.done
		t.mu.Unlock()
		switch {
		case over:
			w.shut(f)
			again = true // the place may be wanted
		case ended:
		case f.src == nil && (f.retry.at.IsZero() || f.retry.due(w.now)):
			w.openFeed(f)
		case f.src == nil:
			w.at(f.retry.at)
		case pull:
			again = w.pull(f.src, f, feedBytes) || again
		}
	}
	return again
}

// feedOver reports whether f, which nobody reads on from, has been idle for long enough.
func (w *worker) feedOver(t *topic, f *feed) bool {
	idle := feedIdle
	switch {
	case t.waiting.head != nil:
		idle = feedGiveWay
	case w.h.slots.none():
		idle = feedYield
	case w.now.Sub(f.used) < feedYield:
		w.at(f.used.Add(feedYield)) // look again whether there are slots
		return false
	}
	if w.now.Sub(f.used) >= idle {
		return true
	}
	w.at(f.used.Add(idle))
	return false
}

// admit gives those who wait a place, in order: in the ring, on an open feed, or on a new one as
// long as there may be more.
func (w *worker) admit(t *topic) {
	for s := t.waiting.head; s != nil; s = t.waiting.head {
		if s.started && t.ring.covers(s.at) {
			t.placeInRing(s)
			t.bell.ring(s)
			continue
		}
		if t.attach(s) {
			continue
		}
		if len(t.feeds) >= w.h.cfg.TopicFeeds || !w.h.slots.take(t) {
			return
		}
		w.h.count.feeds.Add(1)
		f := &feed{t: t, latest: s.latest, used: w.now}
		f.ring.budget, f.ring.most, f.ring.whole = &w.h.budget, int64(w.h.cfg.FeedBytes), true
		if s.started {
			f.start = relay.Start{Kind: relay.StartAfter, After: s.at}
		} else {
			f.start, f.barrier = s.extra.from, s.extra.barrier
		}
		t.feeds = append(t.feeds, f)
		t.put(s, f)
		if f.latest {
			continue
		}
		for o := t.waiting.head; o != nil; { // who wants the same comes along
			next := o.next
			if f.admits(o) {
				t.put(o, f)
			}
			o = next
		}
	}
}

// attach puts s on an open feed whose window it falls into, and reports whether there is one.
func (t *topic) attach(s *subscription) bool {
	for _, f := range t.feeds {
		if f.admits(s) {
			t.put(s, f)
			return true
		}
	}
	return false
}

// admits reports whether s can go on at f.
func (f *feed) admits(s *subscription) bool {
	if f.latest || s.latest || f.end != nil {
		return false
	}
	switch {
	case s.started && f.known:
		return f.ring.covers(s.at)
	case s.started:
		return f.start == relay.Start{Kind: relay.StartAfter, After: s.at}
	case s.extra.barrier || f.barrier:
		return false // its OK could be older than the request
	case f.known:
		return s.extra.from.Kind == relay.StartFirst && f.start.Kind == relay.StartFirst && f.ring.posFrom == 0
	}
	return f.start == s.extra.from
}

// put makes s a cursor on f.
func (t *topic) put(s *subscription, f *feed) {
	s.place, s.feed, s.id = onFeed, f, 0
	f.subs++
	f.used = time.Now()
	if !f.known {
		f.want = f.want || s.started
		f.bell.arm(s)
		return
	}
	if !s.started {
		s.begun(f.ring.base)
	}
	if s.id = f.ring.seek(s.at); s.id == f.ring.next {
		f.want = true
	}
	f.bell.ring(s) // who is at the head already stays armed
}

// begun answers s, whose start only the upstream could resolve.
func (s *subscription) begun(p relay.Position) {
	s.at, s.started, s.okDue, s.extra = p, true, true, nil
}

// leaveFeed takes s off its feed.
func (s *subscription) leaveFeed() {
	f := s.feed
	s.place, s.feed = nowhere, nil
	if f.subs--; f.subs == 0 && !f.dead {
		s.t.h.runq.schedule(s.t)
	}
}

func (w *worker) openFeed(f *feed) {
	t := f.t
	f.retry.at = time.Time{}
	r := relay.SubscribeRequest{From: f.start, Barrier: f.barrier}
	if f.latest {
		r.Mode, r.Limit = relay.Latest, relay.MaxNumber
	}
	t.mu.Lock()
	if f.known {
		r.From = relay.Start{Kind: relay.StartAfter, After: f.ring.head}
		r.Barrier = false
	}
	t.mu.Unlock()
	f.src = w.open(t, r)
	w.h.runq.schedule(t)
}

// take takes frames of the feed's subscription, up to one pull's worth while nobody wants more.
func (f *feed) take(w *worker, s *source, frames []relay.Frame) bool {
	t := f.t
	var end *relay.End
	t.mu.Lock()
	// Who wants more has read everything; what comes now stays until it is read.
	f.ring.shrink(f.ring.most)
	before := f.ring.next
	for i := range frames {
		switch fr := &frames[i]; fr.Kind {
		case relay.KindOK:
			f.retry.since = w.now
			f.through = fr.Next
			f.opened(fr.At)
		case relay.KindMessage, relay.KindGap:
			if !f.known || w.accept(&f.ring, fr, !f.latest) {
				continue
			}
			if f.hole != fr.At {
				f.hole = fr.At
				w.h.count.unjoined.Add(1)
				end = &relay.End{Code: relay.Internal, Detail: "a message did not follow"}
				break
			}
			w.accept(&f.ring, &relay.Frame{Kind: relay.KindGap, Reason: relay.GapEpoch, At: f.ring.head, Next: fr.At}, true)
			w.accept(&f.ring, fr, true)
		case relay.KindEnd:
			e := *fr.End
			end = &e
		}
		if end != nil {
			break
		}
	}
	if f.ring.next != before {
		f.want = false
		f.bell.all()
		for o := t.waiting.head; o != nil; {
			next := o.next
			if f.admits(o) {
				t.put(o, f)
			}
			o = next
		}
	}
	if end != nil && !f.known {
		for i := range f.bell.lists {
			for o := f.bell.lists[i].head; o != nil; {
				next := o.next
				o.refuse(end, w.now)
				o = next
			}
		}
	}
	switch {
	case end == nil:
	case w.h.final(end):
		f.end = end
		f.bell.all()
	case end.Code == relay.Done && f.latest:
		f.done = true
		f.bell.all()
	}
	done := f.done
	on := f.want || !f.known
	t.mu.Unlock()
	if end == nil {
		return on
	}
	s.sub.Close()
	f.src = nil
	if !w.h.final(end) && !done {
		f.retry.ended(w.now, end)
		if end.Deadline > 0 {
			f.retry.at = w.now.Add(end.RetryAfter)
		}
		w.at(f.retry.at)
	}
	return false
}

// opened notes the upstream's OK. Who asked to begin after a position begins there, whatever
// the upstream makes of it: a gap says where they differ.
func (f *feed) opened(at relay.Position) {
	if f.known {
		return
	}
	f.known = true
	if f.start.Kind == relay.StartAfter {
		at = f.start.After
	}
	f.ring.reset(at)
	for s := f.bell.lists[f.bell.armed].head; s != nil; s = s.next {
		if !s.started {
			s.begun(at)
		}
	}
	f.bell.all()
}

// release gives up f: whoever is on it finds out when it next reads.
func (t *topic) release(f *feed) {
	f.dead = true
	f.ring.reset(f.ring.head)
}

// shut closes a feed that was released.
func (w *worker) shut(f *feed) {
	if f.src != nil {
		f.src.sub.Close()
		f.src = nil
	}
	w.h.count.feeds.Add(-1)
	w.h.slots.give(&w.h.runq)
}

// slots are the feeds that the process may still open; topics that found none wait in order. A
// topic that is offered one passes it on unless it took it: it may need none any more.
type slots struct {
	mu    sync.Mutex
	free  int
	queue []*topic // those that have slotted set
}

// take takes a slot for t, or has t scheduled when one is free.
func (s *slots) take(t *topic) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 {
		s.free--
		return true
	}
	if !t.slotted {
		t.slotted = true
		s.queue = append(s.queue, t)
	}
	return false
}

// none reports whether all slots are taken.
func (s *slots) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free == 0
}

// give gives a slot back.
func (s *slots) give(q *runq) {
	s.mu.Lock()
	s.free++
	s.mu.Unlock()
	s.offer(q)
}

// offer has the first that waits scheduled, if there is a slot for it.
func (s *slots) offer(q *runq) {
	s.mu.Lock()
	var t *topic
	if s.free > 0 && len(s.queue) > 0 {
		t, s.queue[0] = s.queue[0], nil
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil // keeps no array alive
		}
		t.slotted = false
		t.offered.Store(true)
	}
	s.mu.Unlock()
	if t != nil {
		q.schedule(t)
	}
}
