package hub

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// turnLive keeps the one upstream subscription that fills the ring: opens it, after the head
// when there is one, reads it, and opens it anew after an end.
func (w *worker) turnLive(t *topic) bool {
	if t.live == nil && (t.retry.at.IsZero() || t.retry.due(w.now)) {
		w.openLive(t)
	}
	again := false
	if t.old != nil {
		again = w.pull(t.old, t, pullBytes)
	}
	if t.live != nil {
		again = w.pull(t.live, t, pullBytes) || again
	}
	if t.gone {
		return false
	}
	if t.old != nil && !w.now.Before(t.old.served) {
		w.dropOld(t)
	}
	if t.old != nil {
		w.at(t.old.served)
	}
	if t.live == nil {
		w.at(t.retry.at)
	}
	return again
}

func (w *worker) openLive(t *topic) {
	t.retry.at = time.Time{}
	var r relay.SubscribeRequest
	t.mu.Lock()
	if t.known {
		r.From = relay.Start{Kind: relay.StartAfter, After: t.ring.head}
	} else {
		for s := t.starting.head; s != nil; s = s.next {
			if s.extra != nil && s.extra.barrier && s.extra.from.Kind == relay.StartLive {
				s.extra.barrier, r.Barrier = false, true // this OK is their answer
			}
		}
	}
	known := t.known
	t.mu.Unlock()
	if known {
		w.h.count.resumed.Add(1)
	}
	if t.opened.IsZero() {
		t.opened = w.now
	}
	t.live = w.open(t, r)
}

// take takes frames of the live subscription or its predecessor.
func (t *topic) take(w *worker, s *source, frames []relay.Frame) bool {
	var end *relay.End
	ok, news := false, false
	t.mu.Lock()
	for i := range frames {
		f := &frames[i]
		switch f.Kind {
		case relay.KindOK:
			if s != t.live {
				continue
			}
			ok = true
			if !t.known {
				t.known = true
				t.ring.reset(f.At)
				for t.starting.head != nil {
					t.start(t.starting.head)
				}
			}
		case relay.KindStatus:
			if s == t.live {
				t.upLost = f.State == relay.Lost
				news = true
			}
		case relay.KindEnd:
			e := *f.End
			end = &e
		default:
			if !t.known {
				continue
			}
			news = true
			if w.accept(&t.ring, f, true) {
				continue
			}
			if t.hole != f.At {
				t.hole = f.At
				w.h.count.unjoined.Add(1)
				end = &relay.End{Code: relay.Internal, Detail: "a message did not follow"}
				break
			}
			// Asked again, the upstream says the same: what is between is gone.
			w.accept(&t.ring, &relay.Frame{Kind: relay.KindGap, Reason: relay.GapEpoch, At: t.ring.head, Next: f.At}, true)
			w.accept(&t.ring, f, true)
		}
		if end != nil {
			break
		}
	}
	if ok {
		t.setCut(false)
		t.retry.since = w.now
	}
	if news {
		t.bell.all()
		t.caughtUp()
		t.used.Store(w.h.budget.clock.Add(1))
	}
	kept := len(t.ring.chunks) > 0
	t.mu.Unlock()
	if kept {
		w.h.budget.enlist(t)
	}
	if ok && t.old != nil {
		w.dropOld(t)
	}
	if end != nil {
		w.liveEnded(t, s, end)
	}
	return end == nil
}

// caughtUp wakes who waits at the head of a feed that the ring now covers: nothing may come there
// for long, and the feed's place may be wanted.
func (t *topic) caughtUp() {
	for _, f := range t.feeds {
		if f.known && t.ring.covers(f.ring.head) {
			f.bell.all()
		}
	}
}

// liveEnded closes s, or keeps it as long as its end says, and plans the successor.
func (w *worker) liveEnded(t *topic, s *source, end *relay.End) {
	if s == t.old {
		if !w.now.Before(s.served) {
			w.dropOld(t)
		}
		return
	}
	switch {
	case w.h.final(end):
		w.finish(t, *end)
		return
	case end.Deadline > 0 && t.old == nil:
		s.served = w.now.Add(end.Deadline)
		t.old, t.live = s, nil
		t.retry.tries, t.retry.since = 0, time.Time{}
		t.retry.at = w.now.Add(end.RetryAfter)
		w.h.runq.schedule(t) // at once, where nothing says to wait
		return
	}
	s.sub.Close()
	t.live = nil
	t.retry.ended(w.now, end)
	t.mu.Lock()
	t.upLost = false
	known := t.known
	if t.old == nil {
		t.setCut(true)
	}
	t.mu.Unlock()
	if !known && w.now.Sub(t.opened) >= relay.AnswerWithin {
		w.finish(t, *end) // whoever waits has waited long enough for an answer
	}
}

// dropOld closes the predecessor.
func (w *worker) dropOld(t *topic) {
	t.old.sub.Close()
	t.old = nil
	t.mu.Lock()
	t.setCut(t.live == nil || t.retry.since.IsZero())
	t.mu.Unlock()
}
