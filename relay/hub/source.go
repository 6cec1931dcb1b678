package hub

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const (
	pullBytes = 64 << 10 // asked of the live subscription at once
	feedBytes = 32 << 10 // of a feed's
	pulls     = 4        // at most, of one source in one turn
)

// A source is one upstream subscription. Its wake only notes that there is something: it may
// come from inside the upstream's locks, and before Subscribe has returned.
type source struct {
	t     *topic
	sub   relay.Subscription // owned by the turn
	ready atomic.Bool
	// served: until then it is read on though it has ended with a deadline. Owned by the turn.
	served time.Time
}

func (w *worker) open(t *topic, r relay.SubscribeRequest) *source {
	s := &source{t: t}
	r.Channel = t.channel
	w.h.count.opened.Add(1)
	s.sub = w.h.cfg.Upstream.Subscribe(r, s.woken)
	return s
}

func (s *source) woken() {
	s.ready.Store(true)
	s.t.h.runq.schedule(s.t)
}

// A taker takes a source's frames, valid during the call, and reports whether to go on pulling.
type taker interface {
	take(w *worker, s *source, frames []relay.Frame) bool
}

// pull hands frames to to until there are none, to has enough, or the turn's share is used up;
// it reports whether there may be more. It asks until it gets nothing, because that gives back
// what was lent.
func (w *worker) pull(s *source, to taker, most int) bool {
	if !s.ready.Swap(false) {
		return false
	}
	for range pulls {
		w.frames = s.sub.Next(w.frames[:0], most)
		if len(w.frames) == 0 {
			return false
		}
		on := to.take(w, s, w.frames)
		clear(w.frames)
		if !on {
			s.ready.Store(true)
			return false
		}
	}
	s.ready.Store(true)
	return true
}

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second // readers wait so long, on average half, after the way is back
	steady     = 5 * time.Second // a source that served so long is opened anew without a wait
)

// A retry paces attempts by full jitter: a wait drawn from 0 to a bound that doubles, 50 ms to
// 2 s (Brooker, "Exponential Backoff And Jitter"). Owned by the turn.
type retry struct {
	at    time.Time // of the next attempt; zero: none is due
	since time.Time // of the last OK
	tries int
}

// ended plans the next attempt after end.
func (r *retry) ended(now time.Time, end *relay.End) {
	if !r.since.IsZero() && now.Sub(r.since) >= steady {
		r.tries = 0
	}
	bound := min(retryFirst<<min(r.tries, 10), retryMost)
	r.tries++
	r.since = time.Time{}
	r.at = now.Add(end.RetryAfter + rand.N(bound))
}

func (r *retry) due(now time.Time) bool { return !r.at.IsZero() && !now.Before(r.at) }

// final reports whether end is the subscribers' and not only the way's. A token that the hop
// itself must renew is the way's.
func final(end *relay.End) bool {
	return end.Code != relay.Done && end.Code.Retry() == relay.Final
}

// final is the same with what this hub is told to pass on.
func (h *Hub) final(end *relay.End) bool {
	return final(end) || h.cfg.Moved && end.Code == relay.Moved
}

// accept puts a message or gap into r. It reports whether the frame fits: a message that does
// not follow, with no gap before it, does not. strict: hold it to that.
func (w *worker) accept(r *ring, f *relay.Frame, strict bool) bool {
	switch f.Kind {
	case relay.KindMessage:
		if !r.head.Before(f.At) {
			w.h.count.repeated.Add(1)
			return true
		}
		if strict && f.At != r.head.Next() && !(r.head.IsZero() && f.At.Seq == 1) {
			return false
		}
		r.message(f.At, f.Body)
		w.h.count.messages.Add(1)
		w.h.count.bytes.Add(uint64(len(f.Body)))
	case relay.KindGap:
		if at := prior(f.Next); at == r.head || at.Before(r.head) && f.Reason != relay.GapEpoch {
			w.h.count.repeated.Add(1)
			return true
		}
		r.gap(f.At, f.Next, f.Reason)
		w.h.count.gaps.Add(1)
	}
	return true
}
