package hub

import (
	"slices"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A query asks the upstream where the channel stands, for subscriptions with a barrier: a
// subscription {live, barrier} of which only the OK is wanted. It serves everyone who asked
// before it was sent, and nobody who asked after.
type query struct {
	src   *source
	asked list // guarded by the topic's mutex
}

// queriesOpen bounds the queries of one topic under way; past it barriers wait and share the
// next.
const queriesOpen = 4

func (w *worker) turnQueries(t *topic) bool {
	t.mu.Lock()
	ask := t.known && t.barrier.head != nil
	t.mu.Unlock()
	if ask && len(t.queries) < queriesOpen {
		if t.asking.at.IsZero() || t.asking.due(w.now) {
			w.openQuery(t)
		} else {
			w.at(t.asking.at)
		}
	}
	again := false
	for i := 0; i < len(t.queries); {
		q := t.queries[i]
		again = w.pull(q.src, q, 1) || again
		if i < len(t.queries) && t.queries[i] == q {
			i++
		}
	}
	return again
}

func (w *worker) openQuery(t *topic) {
	q := &query{}
	t.asking.at = time.Time{}
	t.mu.Lock()
	for t.barrier.head != nil {
		q.asked.push(t.barrier.head)
	}
	t.mu.Unlock()
	q.src = w.open(t, relay.SubscribeRequest{Barrier: true})
	t.queries = append(t.queries, q)
}

func (q *query) take(w *worker, s *source, frames []relay.Frame) bool {
	t := s.t
	i := slices.IndexFunc(frames, func(f relay.Frame) bool { return f.Kind == relay.KindOK || f.Kind == relay.KindEnd })
	if i < 0 {
		return true
	}
	switch f := &frames[i]; f.Kind {
	case relay.KindOK:
		t.asking.tries = 0
		t.mu.Lock()
		// Everything acknowledged before is at or before the answer; everything after the
		// larger of the two is still to come through the ring, or there already.
		from := t.ring.head
		if from.Before(f.At) {
			from = f.At
		}
		for q.asked.head != nil {
			t.startAt(q.asked.head, from)
		}
		t.mu.Unlock()
	case relay.KindEnd:
		end := *f.End
		t.asking.ended(w.now, &end)
		w.at(t.asking.at)
		t.mu.Lock()
		for q.asked.head != nil {
			if s := q.asked.head; !s.refuse(&end, w.now) {
				t.barrier.push(s)
			}
		}
		t.mu.Unlock()
	}
	t.queries = slices.DeleteFunc(t.queries, func(o *query) bool { return o == q })
	s.sub.Close()
	return false
}
