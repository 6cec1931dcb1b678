package check

import (
	"strconv"

	"github.com/meridian-relay/meridian/relay"
)

// A reader is a subscription, or a replica's history, as its frames are followed.
type reader struct {
	channel *channel
	log     int
	asked   ref
	replica bool

	answer  ref // the first OK
	begun   bool
	first   relay.Position // of the first OK
	head    relay.Position // of the first OK
	at      relay.Position // everything up to here came, or was named in a gap
	last    ref            // the line that says so
	promise relay.Position // after a gap: what follows it; zero: none
	count   uint64
	ended   bool
	broken  bool // a violation was found: what follows is not judged
	sum     uint64
}

// follow holds every subscription to its frames.
func (j *judge) follow() {
	j.each(func(log int, x *line, at ref) {
		switch x.kind {
		case kindOK, kindMessage, kindGap, kindEnd, kindDrained:
		default:
			return
		}
		r := j.subs[log][x.id]
		if r == nil || r.broken {
			return
		}
		q := j.line(r.asked)
		if r.ended {
			j.breaks(r, P2, []ref{r.asked, r.last, at}, "a frame came after the end")
			return
		}
		if q.mode == relay.Latest {
			j.latest(r, x, at)
			return
		}
		switch x.kind {
		case kindOK:
			j.ok(r, q, x, at)
		case kindMessage:
			j.next(r, x, at)
		case kindGap:
			j.gap(r, x, at)
		case kindEnd:
			j.end(r, q, x, at)
		case kindDrained:
			j.counts.Drains++
			j.reached(r, x, at)
		}
	})
}

// breaks notes a violation of a subscription, which is not followed further.
func (j *judge) breaks(r *reader, p Promise, refs []ref, format string, args ...any) {
	r.broken = true
	j.violation(p, r.channel, refs, format, args...)
}

// latest follows a subscription that is conflated: its positions grow, unless a gap leads back.
// What was delivered is held to what stands besides.
func (j *judge) latest(r *reader, x *line, at ref) {
	switch x.kind {
	case kindMessage:
		if !r.at.IsZero() && !r.at.Before(x.at) {
			j.breaks(r, P2, []ref{r.asked, r.last, at}, "%v came after %v: twice, or out of order", x.at, r.at)
		}
		r.at, r.last = x.at, at
	case kindGap:
		r.at, r.last = relay.Position{}, at
	case kindEnd:
		r.ended, r.last = true, at
	}
}

func (j *judge) ok(r *reader, q, x *line, at ref) {
	if r.begun {
		j.counts.Resumed++
		if r.at.Before(x.at) {
			j.breaks(r, P2, []ref{r.asked, r.last, at}, "it stood at %v and was resumed at %v", r.at, x.at)
		}
		return
	}
	r.begun, r.answer, r.first, r.head, r.at, r.last = true, at, x.at, x.next, x.at, at
	if q.from == relay.StartAfter && !q.at.IsZero() && q.at.Before(x.at) {
		j.breaks(r, P2, []ref{r.asked, j.shown(r.channel, q.at, x.at.Next()), at},
			"it was to begin after %v, and stands at %v", q.at, x.at)
		return
	}
	if q.from == relay.StartFirst {
		j.skipped(r, relay.Position{}, x.at, relay.GapTrimmed, at)
	}
	j.barrier(r, q, x, at)
}

// next takes a message.
func (j *judge) next(r *reader, x *line, at ref) {
	p := x.at
	follows := p == r.at.Next()
	if !follows && r.at.Seq == 0 && p.Seq == 1 && r.at.Before(p) {
		// A channel that did not exist yet may begin in a later epoch; what was before, if
		// anything, must not have been left out.
		follows = true
		j.skipped(r, r.at, p, relay.GapEpoch, at)
	}
	switch {
	case !r.begun:
		j.breaks(r, P2, []ref{r.asked, at}, "a message came before the answer")
	case follows:
	case !r.promise.IsZero():
		j.breaks(r, P2, []ref{r.asked, r.last, at}, "a gap named %v as what follows, and %v came", r.promise, p)
	case !r.at.Before(p):
		j.breaks(r, P2, []ref{r.asked, r.last, at}, "%v came after %v: twice, or out of order", p, r.at)
	default:
		j.breaks(r, P2, []ref{r.asked, r.last, j.shown(r.channel, r.at, p), at},
			"%v came after %v: what is between is missing, without a gap", p, r.at)
	}
	r.at, r.last, r.promise = p, at, relay.Position{}
	r.count++
	r.sum = mix(mix(mix(r.sum, uint64(p.Epoch)), uint64(p.Seq)), x.digest)
}

// mix adds to a sum that depends on the order.
func mix(sum, v uint64) uint64 { return (sum ^ v) * 0x100000001b3 }

// shown returns a line that shows a message between two positions.
func (j *judge) shown(c *channel, after, before relay.Position) ref {
	if e, _, ok := c.between(after, before); ok {
		return e.slot.shown()
	}
	return ref{}
}

// gap takes a Gap. Its after lies before what was delivered where that may not exist any more.
func (j *judge) gap(r *reader, x *line, at ref) {
	if x.reason == relay.GapEpoch {
		j.counts.Epochs++
	} else {
		j.counts.Trimmed++
	}
	back := x.next.Epoch < r.at.Epoch || x.next.Epoch == r.at.Epoch && x.next.Seq <= r.at.Seq
	switch {
	case !r.begun:
		j.breaks(r, P2, []ref{r.asked, at}, "a gap came before the answer")
		return
	case x.next.Seq == 0:
		j.breaks(r, P2, []ref{r.asked, at}, "a gap leads to %v, where no message is", x.next)
		return
	case r.at.Before(x.at):
		j.breaks(r, P2, []ref{r.asked, r.last, j.shown(r.channel, r.at, x.at.Next()), at},
			"a gap after %v came at %v: what is between is missing", x.at, r.at)
		return
	case x.reason != relay.GapEpoch && (x.at.Before(r.at) || back):
		j.breaks(r, P2, []ref{r.asked, r.last, at}, "a gap from %v to %v of retention came at %v", x.at, x.next, r.at)
		return
	}
	prev := relay.Position{Epoch: x.next.Epoch, Seq: x.next.Seq - 1}
	if back {
		// What was delivered beyond is said not to exist.
		j.skipped(r, prev, r.at.Next(), x.reason, at)
	} else {
		j.skipped(r, x.at, x.next, x.reason, at)
	}
	r.at, r.last, r.promise = prev, at, x.next
}

// skipped judges that the messages between two positions, both excluded, do not come.
func (j *judge) skipped(r *reader, after, before relay.Position, why relay.GapReason, at ref) {
	c := r.channel
	if why == relay.GapEpoch && c.epochs || why != relay.GapEpoch && !c.kept {
		return
	}
	e, acked, ok := c.between(after, before)
	if !ok {
		return
	}
	p, what := P3, "%v was delivered, and given up by a gap (%v)"
	if acked {
		p, what = P1, "%v was acknowledged, and given up by a gap (%v)"
	}
	m := j.message(c, e.slot.digest)
	j.breaks(r, p, []ref{m.begun, e.slot.shown(), r.asked, r.last, at}, what, e.at, why)
}

func (j *judge) end(r *reader, q, x *line, at ref) {
	r.ended = true
	if r.begun && !r.replica && q.n > 0 && x.code == relay.Done && r.count < q.n && r.at.Before(r.head) {
		j.breaks(r, P2, []ref{r.asked, r.last, at},
			"a subscription with a limit ended at %v; its head was %v", r.at, r.head)
	}
	if r.replica && r.begun && r.at.Before(r.head) {
		j.breaks(r, P2, []ref{r.asked, r.last, at}, "a history ended at %v; its head was %v", r.at, r.head)
	}
	r.last = at
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}
