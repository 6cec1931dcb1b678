package check

import (
	"cmp"
	"slices"
	"strings"
)

// outcomes holds what stands to what was answered: a refused publish does not stand, and a number
// that was used up has no message.
func (j *judge) outcomes(c *channel) {
	for _, n := range c.producer {
		if n.voided != (ref{}) && !n.at.IsZero() {
			j.violation(P5, c, []ref{n.begun, n.voided, n.shown},
				"number %d was answered as used up without a message, and stands at %v", n.n, n.at)
		}
	}
	for _, m := range c.listed {
		if m.ack == (ref{}) && m.open > 0 {
			j.counts.Open++
			if m.places > 0 {
				j.counts.Appeared++
			}
		}
		if m.ack == (ref{}) && m.open == 0 && m.places > 0 {
			j.violation(P3, c, []ref{m.begun, m.refused, m.shown}, "a publish that was refused stands at %v", m.at)
		}
	}
}

// order holds the positions of every producer to its numbers.
func (j *judge) order(c *channel) {
	slices.SortStableFunc(c.producer, func(a, b *numbered) int {
		return cmp.Or(strings.Compare(a.producer, b.producer), cmp.Compare(a.n, b.n))
	})
	var last *numbered
	for _, n := range c.producer {
		if n.at.IsZero() {
			continue
		}
		if last != nil && last.producer == n.producer && !last.at.Before(n.at) {
			j.violation(P10, c, []ref{last.begun, last.shown, n.begun, n.shown},
				"numbers %d and %d of a producer stand at %v and %v", last.n, n.n, last.at, n.at)
			return
		}
		last = n
	}
}

// replicas holds the histories to what was acknowledged and delivered, and to each other.
func (j *judge) replicas(c *channel) {
	latest := make(map[string]*reader)
	var names []string
	for _, r := range c.readers {
		if !r.replica || !r.begun || r.broken {
			continue
		}
		name := j.logs[r.log].names[j.line(r.asked).who]
		if latest[name] == nil {
			names = append(names, name)
		}
		latest[name] = r
		j.lacks(c, r)
	}
	for _, name := range names {
		a, b := latest[names[0]], latest[name]
		if a.broken || b.broken {
			continue
		}
		switch {
		case a.head != b.head:
			j.violation(P1, c, []ref{a.asked, a.answer, b.asked, b.answer},
				"replicas differ: one ends at %v, one at %v", a.head, b.head)
		case a.sum != b.sum:
			refs := append([]ref{a.asked}, j.differ(a, b)...)
			j.violation(P1, c, append(refs, b.asked), "replicas differ in what they keep")
		}
	}
}

// lacks finds what was acknowledged or delivered and is beyond a history's end.
func (j *judge) lacks(c *channel, r *reader) {
	t, clock := j.line(r.asked).t, j.clockOf(r.asked)
	for i, of := range [][]series{c.acks, c.seen} {
		m, ok := j.highest(of, clock, t)
		if !ok || !r.at.Before(m.at) {
			continue
		}
		p, what := P1, "acknowledged"
		if i == 1 {
			p, what = P3, "delivered"
		}
		begun := j.message(c, c.slots[m.at].digest).begun
		j.breaks(r, p, []ref{begun, m.by, r.asked, r.last}, "%v was %s; a replica's history ends at %v", m.at, what, r.at)
		return
	}
}

// differ returns the first lines in which two histories differ.
func (j *judge) differ(a, b *reader) []ref {
	next := func(r *reader) func() (ref, *line) {
		i := int(r.asked.line)
		id := j.line(r.asked).id
		lines := j.logs[r.log].lines
		return func() (ref, *line) {
			for i++; i < len(lines); i++ {
				if x := &lines[i]; x.id == id && x.kind == kindMessage {
					return ref{uint32(r.log + 1), uint32(i)}, x
				}
			}
			return ref{}, nil
		}
	}
	na, nb := next(a), next(b)
	for {
		ra, xa := na()
		rb, xb := nb()
		if xa == nil || xb == nil || xa.at != xb.at || xa.digest != xb.digest {
			return []ref{ra, rb}
		}
	}
}
