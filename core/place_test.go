package core

import (
	"context"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// placed starts three nodes whose balance does not wait long.
func placed(t *testing.T) *simWorld {
	return newWorld(t, places("r", "r", "r"), func(c *NodeConfig) {
		c.SteadyFor, c.Shards = time.Second, 1
		c.Namespaces = map[relay.Namespace]Namespace{relaytest.Plain: {}, "fleeting": {Class: shard.Ephemeral}}
	})
}

// on returns the box of a node.
func (w *simWorld) on(name shard.Node) *box {
	for _, b := range w.boxes {
		if b.name == string(name) {
			return b
		}
	}
	w.t.Fatalf("no node %s", name)
	return nil
}

// home says where a channel's shard is to be led by the configuration, and another of its voters.
func (w *simWorld) home(ch relay.Channel) (id shard.ID, home, other shard.Node) {
	plan := w.boxes[0].alive().node.local.plan.Load()
	id = plan.owner(ch)
	return id, plan.of(id).voters[0], plan.of(id).voters[1]
}

// move has a channel's shard led by a node, by one of two ways: with a wish that lasts, or not.
func (w *simWorld) move(ch relay.Channel, to shard.Node, wish bool) {
	w.t.Helper()
	w.until("a transfer of "+string(ch)+" to "+string(to), drainWithin, func() bool {
		b := w.leader(ch)
		if b == nil || b == w.on(to) {
			return b != nil
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), transferFor)
		defer cancel()
		n := b.alive().node
		id, _, _ := w.home(ch)
		var err error
		if wish {
			err = n.Transfer(ctx, id, to)
		} else if s, ok := n.status(id); ok {
			err = n.transfer(ctx, id, s.Descriptor.On(to))
		}
		if err != nil {
			w.t.Log(err)
		}
		return false
	})
}

// What an operator transfers stays there: the node leads again after it was away, though another
// one is the configuration's choice. What was handed over for a while goes back.
func TestATransferLasts(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := placed(t)
	ch := relay.Channel(relaytest.Plain + ":x")
	id, home, other := w.home(ch)
	w.until("it is led from home", drainWithin, func() bool { return w.leader(ch) == w.on(home) })
	w.move(ch, other, false)
	w.until("without a wish it goes home", drainWithin, func() bool { return w.leader(ch) == w.on(home) })

	w.move(ch, other, true)
	for _, b := range w.boxes {
		w.until("every node knows of the wish", drainWithin, func() bool {
			s, err := b.alive().node.Shard(id)
			return err == nil && s.Prefer == other
		})
	}
	for until := time.Now().Add(3 * balanceLook); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if w.leader(ch) == w.on(home) {
			t.Fatal("the balance undid a transfer")
		}
	}
	away := w.on(other)
	away.off(away.alive())
	w.until("home leads meanwhile", drainWithin, func() bool { return w.leader(ch) == w.on(home) })
	away.start()
	w.until("the preferred node leads again", drainWithin, func() bool { return w.leader(ch) == away })
}

// The balance leaves a leader alone whose memory has the messages; what it does to a shard of
// another class at the same time shows that it looked.
func TestTheBalanceLeavesEphemeralLeaders(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := placed(t)
	ch, control := relay.Channel("fleeting:x"), relay.Channel(relaytest.Plain+":x")
	_, home, other := w.home(ch)
	_, controlled, elsewhere := w.home(control)
	w.move(ch, other, false)
	if w.leader(ch) != w.on(other) {
		t.Fatalf("%s is led from elsewhere than %s", ch, other)
	}
	for range 2 {
		w.move(control, elsewhere, false)
		w.until("the other shard goes home", drainWithin, func() bool { return w.leader(control) == w.on(controlled) })
	}
	if w.leader(ch) != w.on(other) {
		t.Errorf("the leader of an ephemeral channel was moved, as it seems home, to %s", home)
	}
	// Out of service it goes all the same.
	b := w.on(other)
	b.off(b.alive())
	w.until("another node leads", drainWithin, func() bool { l := w.leader(ch); return l != nil && l != b })
}
