package core

import (
	"slices"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A digest tells apart what nodes must agree on, and nothing else.
func TestDigest(t *testing.T) {
	digest := func(edit func(m []Member, ns map[relay.Namespace]Namespace), shards int) string {
		members := world("r s", 3)
		ns := map[relay.Namespace]Namespace{"a": {Class: shard.Region, Home: "r"}, "b": {Class: shard.Global, Home: "r"}}
		edit(members, ns)
		p, err := newPlan(members, groupsOf(ns, shards), ns)
		if err != nil {
			t.Fatal(err)
		}
		return p.digest(members)
	}
	type spaces = map[relay.Namespace]Namespace
	want := digest(func([]Member, spaces) {}, 6)
	for name, same := range map[string]func([]Member, spaces){
		"order":     func(m []Member, _ spaces) { slices.Reverse(m) },
		"addresses": func(m []Member, _ spaces) { m[0].Address = "elsewhere:1" },
		"retention": func(_ []Member, ns spaces) { a := ns["a"]; a.Policy.Count = 9; ns["a"] = a },
	} {
		if digest(same, 6) != want {
			t.Errorf("another digest for another %s", name)
		}
	}
	for name, other := range map[string]func([]Member, spaces){
		"class":     func(_ []Member, ns spaces) { ns["a"] = Namespace{Class: shard.Global, Home: "r"} },
		"home":      func(_ []Member, ns spaces) { ns["a"] = Namespace{Class: shard.Region, Home: "s"} },
		"learners":  func(_ []Member, ns spaces) { a := ns["a"]; a.Learners = []relay.Region{"s"}; ns["a"] = a },
		"namespace": func(_ []Member, ns spaces) { ns["c"] = ns["a"] },
		"exchange":  func(_ []Member, ns spaces) { ns["a"], ns["b"] = ns["b"], ns["a"] },
		"zone":      func(m []Member, _ spaces) { m[0].Zone = "q" },
		"name":      func(m []Member, _ spaces) { m[0].Name = "q" },
	} {
		if digest(other, 6) == want {
			t.Errorf("the same digest for another %s", name)
		}
	}
	if digest(func([]Member, spaces) {}, 5) == want {
		t.Error("the same digest for another number of shards")
	}
}

// Nodes that were given different files do not begin, so that nothing is owned twice. The one that
// was wrong is started again with the right file, and the fleet begins.
func TestNodesMustAgree(t *testing.T) {
	list := trio(t)
	list[2].Namespaces = map[relay.Namespace]Namespace{
		relaytest.Plain: {Class: shard.Global}, relaytest.Short: list[0].Namespaces[relaytest.Short], "fleeting": {},
	}
	var nodes []*Node
	var stops []func()
	for _, c := range list {
		n, stop := start(t, c)
		nodes, stops = append(nodes, n), append(stops, stop)
	}
	late := time.Now().Add(20 * time.Second)
	refused := func() bool { return nodes[2].network.peers.Stats().Refused > 1 }
	for ; !refused(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("nobody was refused")
		}
	}
	for _, n := range nodes {
		if n.notes.begun() || len(n.store.Replicas()) > 0 {
			t.Errorf("%s has begun", n.cfg.Name)
		}
	}
	stops[2]()
	c := list[2]
	c.Namespaces = list[0].Namespaces
	c.PacketConn = listen(t, c.Nodes[2].Address)
	right, _ := start(t, c)
	await(t, right)
	publish(t, nodes[0].Upstream(), numbered(relaytest.Plain+":a", 1))
	want(t, right.Upstream(), relaytest.Plain+":a", 1)
}
