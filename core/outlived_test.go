package core

import (
	"testing"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A node that was away while a group was recovered without it is told so when it connects: its
// replica does not serve what may never have been, and it goes on with the others'.
func TestOutlivedReplicaStopsServing(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWorld(t, places("here", "here", "here"), nil)
	ch := relay.Channel("test:outlived")
	var leader *box
	w.until("a leader", drainWithin, func() bool { leader = w.leader(ch); return leader != nil })
	up := leader.alive().node.Upstream()
	publish(t, up, numbered(ch, 1))
	var away *box
	for _, b := range w.boxes {
		if b != leader {
			away = b
		}
	}
	away.off(away.alive())
	// What a recovery by force leaves, as far as the others are told.
	id := leader.alive().node.local.plan.Load().owner(ch)
	r := leader.alive().node.local.replica(id)
	event := *r.view.Load()
	d := *event.Descriptor
	d.Incarnation, event.Descriptor = 7, &d
	r.view.Store(&event)

	away.start()
	n := away.alive().node
	w.until("the replica to stop, and the others to have leaders", drainWithin, func() bool {
		led := 0
		n.local.each(func(r *replica) {
			if _, ok := r.leader(); ok {
				led++
			}
		})
		return led == len(n.local.plan.Load().shards)-1 && n.local.replica(id) == nil
	})
	s := relaytest.Subscribe(t, n.Local(), relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}})
	if code := s.Code(); code != relay.Moved {
		t.Errorf("a replica that was outlived answers %v", code)
	}
	publish(t, n.Upstream(), numbered(ch, 2))
	want(t, n.Upstream(), ch, 2)
}
