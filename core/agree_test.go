package core

import (
	"slices"
	"strings"
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
		"another":   func(_ []Member, ns spaces) { ns["c"] = ns["b"] },
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
	t.Parallel() // it waits more than it works
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

// A namespace that is added later with another class on one node keeps the owner that it has, and
// the node with the other settings says so.
func TestALaterNamespaceHasOneOwner(t *testing.T) {
	t.Parallel() // it waits more than it works
	list := trio(t)
	for i := range list {
		list[i].Shards = 1
		list[i].Namespaces = map[relay.Namespace]Namespace{relaytest.Plain: {}, "wide": {Class: shard.Global}}
	}
	nodes, _ := startAll(t, list)
	add := func(n *Node, class shard.Class) {
		t.Helper()
		if err := n.Reload(map[relay.Namespace]Namespace{relaytest.Plain: {}, "wide": {Class: shard.Global}, "later": {Class: class}}); err != nil {
			t.Fatal(err)
		}
	}
	owners := func(n *Node) (list []string, faults int) {
		all, err := n.Shards(0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			for _, o := range s.Owns {
				if o.Namespace == "later" && o.Slots > 0 {
					list = append(list, s.Class)
				}
			}
			for _, f := range s.Faults {
				if strings.Contains(f, `"later"`) {
					faults++
				}
			}
		}
		return list, faults
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for late := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("waited for: %s", what)
			}
		}
	}
	// The leader of the shard of class global takes the namespace up.
	plan := nodes[0].local.plan.Load()
	for i := range plan.shards {
		if g := plan.groups[plan.shards[i].group]; g.Class == shard.Global {
			id := plan.shards[i].id
			until("the shard of class global leads on n1", func() bool {
				for _, n := range nodes {
					if n.local.replica(id).leads() {
						_ = n.Transfer(t.Context(), id, "n1")
					}
				}
				return nodes[0].local.replica(id).leads()
			})
		} else {
			until("the one of class region leads on n2", func() bool {
				for _, n := range nodes {
					if n.local.replica(plan.shards[i].id).leads() {
						_ = n.Transfer(t.Context(), plan.shards[i].id, "n2")
					}
				}
				return nodes[1].local.replica(plan.shards[i].id).leads()
			})
		}
	}
	add(nodes[0], shard.Global)
	until("it is known on all nodes", func() bool {
		for _, n := range nodes {
			if list, _ := owners(n); len(list) != 1 {
				return false
			}
		}
		return true
	})
	add(nodes[1], shard.Region)
	add(nodes[2], shard.Global)
	// What the shard of class region is owed is looked at before what comes next is answered.
	publish(t, nodes[1].Local(), numbered(relaytest.Plain+":a", 1))
	until("n2 tells", func() bool { _, faults := owners(nodes[1]); return faults > 0 })
	publish(t, nodes[1].Local(), numbered(relaytest.Plain+":a", 2))
	for _, n := range nodes {
		if list, _ := owners(n); len(list) != 1 || list[0] != "global" {
			t.Errorf("%s: owners of class %v", n.cfg.Name, list)
		}
	}
	if _, faults := owners(nodes[0]); faults > 0 {
		t.Error("a node tells though its settings are the shard's")
	}
}
