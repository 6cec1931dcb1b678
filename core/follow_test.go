package core

import (
	"context"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A subscription that reads a leader's memory by way of another node follows the leadership, though
// the old leader's node is well.
func TestEphemeralSubscriptionFollows(t *testing.T) {
	t.Parallel() // it waits more than it works
	nodes, _ := startAll(t, trio(t))
	const ch = relay.Channel("fleeting:follow")
	id := nodes[0].local.plan.Load().owner(ch)
	var from, to, at *Node
	for late := time.Now().Add(20 * time.Second); from == nil; time.Sleep(10 * time.Millisecond) {
		for i, n := range nodes {
			if n.local.replica(id).leads() {
				from, to, at = n, nodes[(i+1)%3], nodes[(i+2)%3]
			}
		}
		if time.Now().After(late) {
			t.Fatal("no leader")
		}
	}
	publish(t, at.Upstream(), relay.Publication{Channel: ch, Body: relaytest.Body("1", "")})
	r := relaytest.Subscribe(t, at.Upstream(), relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}})
	r.Expect(relay.KindOK)
	r.Messages(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := from.Transfer(ctx, id, to.cfg.Name); err != nil {
		t.Fatal(err)
	}
	publish(t, at.Upstream(), relay.Publication{Channel: ch, Body: relaytest.Body("2", "")})
	for {
		if f := r.Frame(); f.Kind == relay.KindMessage {
			if got := string(relaytest.Decode(t, f.Body).Payload); got != "2" {
				t.Errorf("message %q", got)
			}
			return
		}
	}
}
