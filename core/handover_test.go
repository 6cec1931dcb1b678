package core

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// led counts what a life leads.
func led(l *life) (n int) {
	l.node.local.each(func(r *replica) {
		if r.leads() {
			n++
		}
	})
	return n
}

// Who handed its leaderships over to end does not get them back while sessions leave it, though it
// is the place of some.
func TestADrainedNodeGetsNothingBack(t *testing.T) {
	w := newWorld(t, places("here", "here", "here"), func(c *NodeConfig) {
		c.SteadyFor, c.Grace = time.Second, 10*time.Second
	})
	b := w.boxes[0]
	l := b.alive()
	home := func() (n int) {
		for _, s := range l.node.local.plan.Load().shards {
			if s.voters[0] == shard.Node(b.name) && l.node.local.replica(s.id).leads() {
				n++
			}
		}
		return n
	}
	w.until("it leads what it is to lead", drainWithin, func() bool { return home() > 0 })
	l.stop()
	w.until("its leaderships are handed over", drainWithin, func() bool { return led(l) == 0 })
	for {
		select {
		case <-l.done:
			if l.err != nil {
				t.Error(l.err)
			}
			return
		case <-time.After(2 * time.Millisecond):
			if n := led(l); n > 0 {
				t.Fatalf("%d leaderships came back to a node that ends", n)
			}
		}
	}
}
