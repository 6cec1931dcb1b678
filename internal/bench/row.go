package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A row is one line of the table of figures: what is measured, against what, and what it must
// reach.
type row struct {
	name  string
	group string
	about string
	// subject and base are one run each. base nil: the figure stands alone.
	subject, base func(context.Context, *bench) (sample, error)
	baseName      string
	bounds        []bound
	// flow says whether session flow control matters.
	flow bool
	// via, for rows that come in two kinds.
	via string
	// alone: one run is the figure, for it takes long. whole: a run takes as long as its work.
	alone, whole bool
	// disk: how fast the disk syncs is measured before it.
	disk bool
}

// A bound is what a figure must reach: a ratio to the base, or a value.
type bound struct {
	of         metric
	ratio      float64 // at most; 0: no ratio
	most       float64 // 0: no value
	leastRatio float64 // 0: none
	least      float64 // 0: none
}

func (b bound) String() string {
	switch {
	case b.ratio > 0:
		return fmt.Sprintf("%s ≤ %.2f ×", b.of.Name, b.ratio)
	case b.leastRatio > 0:
		return fmt.Sprintf("%s ≥ %.2f ×", b.of.Name, b.leastRatio)
	case b.least > 0:
		return fmt.Sprintf("%s ≥ %g %s", b.of.Name, b.least, b.of.Unit)
	}
	return fmt.Sprintf("%s ≤ %g %s", b.of.Name, b.most, b.of.Unit)
}

// missed reports whether a value, and a ratio if there is one, do not reach the bound.
func (b bound) missed(v float64, ratio *float64) bool {
	return b.ratio > 0 && ratio != nil && *ratio > b.ratio || b.most > 0 && v > b.most ||
		b.leastRatio > 0 && ratio != nil && *ratio < b.leastRatio || b.least > 0 && v < b.least
}

// limit is the bound without its figure's name.
func (b bound) limit() string { return strings.TrimPrefix(b.String(), b.of.Name+" ") }

// against returns the two runs of a trial that both servers can do.
func against(t trial) (subject, base func(context.Context, *bench) (sample, error)) {
	b := t
	t.server, b.server = roleMeridian, roleBaseline
	return t.run, b.run
}

// creditGone is how long 10 messages of 1 KB a second take to use up a credit of 64 KiB: until
// then a reader that has stopped is served like any other.
const creditGone = 8 * time.Second

// rows returns the table.
func rows() []row {
	list := []row{
		fanout("paced-128", trial{sessions: 1000, rate: 20, size: 128, channels: 1},
			bound{of: cpuPerMessage, ratio: 1.15}, bound{of: p99, ratio: 1.2}),
		fanout("paced-1k", trial{sessions: 1000, rate: 20, size: 1024, channels: 1},
			bound{of: cpuPerMessage, ratio: 1.15}, bound{of: p99, ratio: 1.2}),
		fanout("flood-128", trial{sessions: 100, size: 128, channels: 1},
			bound{of: cpuPerMessage, ratio: 0.30}),
		fanout("flood-1k", trial{sessions: 100, size: 1024, channels: 1},
			bound{of: cpuPerMessage, ratio: 0.42}),
		fanout("channels", trial{sessions: 1000, rate: 20, size: 128, channels: 50, busy: 5},
			bound{of: cpuPerMessage, ratio: 1.25}),
		{
			name: "neighbour", group: "fanout",
			about:    "one channel at 10 MB/s: p99 of another in the same session",
			subject:  neighbour(true),
			base:     neighbour(false),
			baseName: "alone",
			bounds:   []bound{{of: p99, ratio: 2}},
		},
		{
			name: "stopped", group: "fanout",
			about:    "900 readers while 100 others have stopped reading",
			subject:  trial{server: roleMeridian, sessions: 900, rate: 10, size: 1024, channels: 1, stopped: 100, warm: creditGone}.run,
			base:     trial{server: roleMeridian, sessions: 900, rate: 10, size: 1024, channels: 1, warm: creditGone}.run,
			baseName: "alone",
			bounds:   []bound{{of: p99, ratio: 1.1}},
		},
	}
	idle := row{
		name: "sessions", group: "idle",
		about:    "2000 sessions at rest, one subscription each",
		baseName: "baseline",
		bounds:   []bound{{of: rssPerSession, ratio: 1.10}, {of: idleCPU, ratio: 1.10}},
		flow:     true,
	}
	idle.subject, idle.base = against(trial{sessions: 2000, channels: 1, idle: true})
	list = append(list, idle, further("subscriptions-own", true, 2500), further("subscriptions-shared", false, 400),
		slowRow("unread", unread, "20 readers that stopped reading, at 0.5 MB/s", bound{of: readerHeap, most: 64}),
		slowRow("frozen", frozen, "20 readers stopped by SIGSTOP for 10 s, at 0.5 MB/s"),
		slowRow("far", far, "20 readers at a round trip of 150 ms, at 0.5 MB/s"),
		hubRow("hub-one-channel", 1), hubRow("hub-many-channels", 100_000))
	return append(list, publishRows()...)
}

func fanout(name string, t trial, bounds ...bound) row {
	r := row{name: name, group: "fanout", about: t.about(), baseName: "baseline", bounds: bounds, flow: true}
	r.subject, r.base = against(t)
	return r
}

// choose returns the rows of these names or groups, all for none; with a group, of that alone;
// with a via, of that kind.
func choose(names []string, group, via string) ([]row, error) {
	all := rows()
	if via != "" {
		all = slices.DeleteFunc(all, func(r row) bool { return r.via != "" && r.via != via })
	}
	if group != "" {
		all = slices.DeleteFunc(all, func(r row) bool { return r.group != group })
	}
	if len(names) == 0 {
		return all, nil
	}
	var list []row
	for _, n := range names {
		found := false
		for _, r := range all {
			if r.name == n || r.group == n {
				list, found = append(list, r), true
			}
		}
		if !found {
			var known []string
			for _, r := range all {
				known = append(known, r.name)
			}
			slices.Sort(known)
			return nil, fmt.Errorf("%w: %s has no row %q; rows: %s", ErrAsked, cmp.Or(group, "bench"), n, strings.Join(known, ", "))
		}
	}
	return list, nil
}
