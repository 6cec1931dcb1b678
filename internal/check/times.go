package check

import (
	"cmp"
	"slices"
	"sort"

	"github.com/meridian-relay/meridian/relay"
)

// A moment is a position that was known at a time. In a series each has the highest position of
// those up to it.
type moment struct {
	t  int64
	at relay.Position
	by ref
}

// A series is moments by one clock, in the order of times.
type series []moment

// raise sorts a series, and makes it one of highest positions.
func (s series) raise() {
	slices.SortFunc(s, func(a, b moment) int { return cmp.Compare(a.t, b.t) })
	for i := 1; i < len(s); i++ {
		if s[i].at.Before(s[i-1].at) {
			s[i].at, s[i].by = s[i-1].at, s[i-1].by
		}
	}
}

// before returns the highest position of the moments before t.
func (s series) before(t int64) (moment, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].t >= t })
	if i == 0 {
		return moment{}, false
	}
	return s[i-1], true
}

// highest returns the highest position that was known before a time by a clock.
func (j *judge) highest(of []series, clock int, t int64) (moment, bool) {
	var best moment
	found := false
	for c, s := range of {
		limit := t
		if c != clock {
			limit -= int64(j.cfg.Skew)
		}
		if m, ok := s.before(limit); ok && (!found || best.at.Before(m.at)) {
			best, found = m, true
		}
	}
	return best, found
}

// index puts what is known of every channel in order.
func (j *judge) index() {
	for _, c := range j.channels {
		c.acks, c.seen = make([]series, j.nclock), make([]series, j.nclock)
	}
	j.each(func(log int, x *line, at ref) {
		clock := j.clocks[log]
		switch x.kind {
		case kindAnswer:
			if o, ok := j.ops[log][x.id]; ok && x.code == relay.Done && o.message != nil {
				c := o.channel
				c.acks[clock] = append(c.acks[clock], moment{x.t, x.at, at})
			}
		case kindMessage:
			// A replica's history is told in one go, after everything.
			if r := j.subs[log][x.id]; r != nil && !r.replica {
				c := r.channel
				if s := c.slots[x.at]; s != nil && s.seen == at {
					c.seen[clock] = append(c.seen[clock], moment{x.t, x.at, at})
				}
			}
		}
	})
	for _, c := range j.channels {
		for i := range c.acks {
			c.acks[i].raise()
			c.seen[i].raise()
		}
		c.known = make([]evidence, 0, len(c.slots))
		for p, s := range c.slots {
			c.known = append(c.known, evidence{p, s})
		}
		slices.SortFunc(c.known, func(a, b evidence) int { return a.at.Compare(b.at) })
		c.acked = make([]int, len(c.known)+1)
		for i, e := range c.known {
			c.acked[i+1] = c.acked[i]
			if e.slot.ack != (ref{}) {
				c.acked[i+1]++
			}
		}
	}
}

// between returns a message known between two positions, both excluded: one that was
// acknowledged, if there is one.
func (c *channel) between(after, before relay.Position) (e evidence, acked, ok bool) {
	lo := sort.Search(len(c.known), func(i int) bool { return after.Before(c.known[i].at) })
	hi := sort.Search(len(c.known), func(i int) bool { return !c.known[i].at.Before(before) })
	if lo >= hi {
		return evidence{}, false, false
	}
	if c.acked[hi] == c.acked[lo] {
		return c.known[lo], false, true
	}
	i := lo + sort.Search(hi-lo, func(i int) bool { return c.acked[lo+i+1] > c.acked[lo] })
	return c.known[i], true, true
}

// barrier holds the answer to a subscription to what was acknowledged before it was asked for.
func (j *judge) barrier(r *reader, q, x *line, at ref) {
	if r.replica || !q.barrier {
		return
	}
	j.counts.Barriers++
	m, ok := j.highest(r.channel.acks, j.clockOf(r.asked), q.t)
	stands := x.next // a start that is not live is held to the head
	if q.from == relay.StartLive {
		stands = x.at
	}
	if ok && stands.Before(m.at) {
		j.breaks(r, P4, []ref{m.by, r.asked, at},
			"a subscription with barrier stands at %v; %v was acknowledged before it was asked for", stands, m.at)
	}
}

// reached holds a subscription that was waited for to what was acknowledged before.
func (j *judge) reached(r *reader, x *line, at ref) {
	m, ok := j.highest(r.channel.acks, j.clockOf(at), x.t)
	if ok && r.at.Before(m.at) {
		j.breaks(r, P2, []ref{r.asked, r.last, m.by, at},
			"it was waited for, and stands at %v; %v was acknowledged before", r.at, m.at)
	}
}

// realTime holds positions to time (P4): what is published after a subscription was answered
// comes after its position, and, since a subscription could have been there, after all that
// was acknowledged before.
func (j *judge) realTime(c *channel) {
	byStart := make([]series, j.nclock)
	for _, m := range c.listed {
		if m.clock < 0 || m.places != 1 || m.copies != 1 {
			continue
		}
		if before, ok := j.highest(c.acks, m.clock, m.start); ok && m.at.Before(before.at) {
			j.violation(P4, c, []ref{before.by, m.begun, m.shown},
				"%v was acknowledged before the publish began that stands at %v", before.at, m.at)
			return
		}
		byStart[m.clock] = append(byStart[m.clock], moment{m.start, m.at, m.begun})
	}
	for _, s := range byStart {
		slices.SortFunc(s, func(a, b moment) int { return cmp.Compare(a.t, b.t) })
		for i := len(s) - 2; i >= 0; i-- { // the lowest position of those from it on
			if s[i+1].at.Before(s[i].at) {
				s[i].at, s[i].by = s[i+1].at, s[i+1].by
			}
		}
	}
	for _, r := range c.readers {
		if r.replica || !r.begun || r.broken || r.head.Before(r.first) {
			continue // or it asked for a position that was never given out
		}
		j.after(c, r, byStart)
	}
}

// after finds a publish that began after a subscription was answered, and stands before it.
func (j *judge) after(c *channel, r *reader, byStart []series) {
	ok := r.answer
	t := j.line(ok).t
	for clock, s := range byStart {
		limit := t
		if clock != j.clockOf(ok) {
			limit += int64(j.cfg.Skew)
		}
		i := sort.Search(len(s), func(i int) bool { return s[i].t > limit })
		if i < len(s) && !r.first.Before(s[i].at) {
			j.violation(P4, c, []ref{r.asked, ok, s[i].by},
				"a subscription stood at %v when the publish began that stands at %v", r.first, s[i].at)
			return
		}
	}
}
