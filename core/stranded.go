package core

import (
	"context"
	"time"

	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/relay"
)

// A node that edges reach, and other nodes do not, can neither acknowledge nor forward what its
// edges publish: it is stranded. It asks them to use other nodes, and lets those who come wait, so
// that link.Reach finds another node first. Where there is none they are served all the same:
// what stands here can be read.
const (
	strandedLook  = 250 * time.Millisecond
	strandedAfter = 2 * time.Second // longer than an election takes
	// lastResort is longer than another node takes to answer, and shorter than link.Reach
	// waits for one address.
	lastResort = 1200 * time.Millisecond
	// partWithin is for edges to open a link elsewhere, or here as the last resort.
	partWithin = 2 * time.Second
	// Edges that came back are asked again, as another node may be well by now; ever less
	// often, for moving costs them something.
	askFrom, askTo = 10 * time.Second, 5 * time.Minute
)

// strandedIn returns why edges are better off elsewhere; "": they are not. Heard is how many of the
// other nodes are heard of; leaderless how many of the replicas here know no leader.
func strandedIn(others, heard, replicas, leaderless int) string {
	switch {
	case others == 0:
		return "" // there is no better place
	case heard == 0:
		return "no other node is heard of"
	case leaderless > 0 && 4*leaderless >= replicas:
		// One shard that lost its majority everywhere must not send all edges around.
		return "a quarter of the shards here know no leader"
	}
	return ""
}

// strandedNow asks strandedIn about this node as it is.
func (w *network) strandedNow() string {
	n := w.node
	w.mu.Lock()
	heard := len(w.alive)
	w.mu.Unlock()
	if n.local.leaderless.Load() == 0 { // there may be thousands, and this is asked often
		return strandedIn(len(n.cfg.Nodes)-1, heard, 1, 0)
	}
	replicas, leaderless := 0, 0
	n.local.all(func(r *replica) {
		if v := r.view.Load(); v == nil || v.Removed || r.class() == 0 {
			return // without a state it serves nobody, and the router knows
		}
		replicas++
		if _, ok := r.leader(); !ok {
			leaderless++
		}
	})
	return strandedIn(len(n.cfg.Nodes)-1, heard, replicas, leaderless)
}

// watchStranded tells the doors, until ctx ends.
func (w *network) watchStranded(ctx context.Context) error {
	look := time.NewTicker(strandedLook)
	defer look.Stop()
	var since, ask time.Time
	pause := askFrom
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		now := time.Now()
		why := w.strandedNow()
		switch {
		case why == "":
			if !since.IsZero() && w.doors.strand(false) {
				w.node.log.Info("edges are served again")
			}
			since, pause = time.Time{}, askFrom
			continue
		case since.IsZero():
			since, ask = now, now.Add(strandedAfter)
		}
		if now.Before(ask) {
			continue
		}
		if !w.doors.strand(true) {
			w.node.log.Warn("edges are asked to use other nodes", "why", why)
		}
		w.doors.part()
		ask, pause = now.Add(pause), min(2*pause, askTo)
	}
}

// strand notes whether edges are better off elsewhere, and returns what was noted before.
func (d *doors) strand(now bool) (before bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before = d.stranded != nil
	switch {
	case now && !before:
		d.stranded = make(chan struct{})
	case !now && before:
		close(d.stranded)
		d.stranded = nil
	}
	return before
}

// part asks the edges that are linked to go elsewhere, and closes what is left of their links when
// they had time to: subscriptions move with the end of a link.
func (d *doors) part() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for server, role := range d.sessions {
		if role != pki.Node {
			server.GoAway(relay.GoingAway, partWithin, nil)
			time.AfterFunc(partWithin, func() { server.Close(relay.GoingAway, "the node is cut off from the others") })
		}
	}
}

// hold lets an edge wait while it is better off elsewhere. False: it has found another node.
func (d *doors) hold(s relay.Session) bool {
	d.mu.Lock()
	over := d.stranded
	d.mu.Unlock()
	if over == nil {
		return true
	}
	late := time.NewTimer(lastResort)
	defer late.Stop()
	select {
	case <-s.Context().Done():
		return false
	case <-late.C:
	case <-over:
	}
	return true
}
