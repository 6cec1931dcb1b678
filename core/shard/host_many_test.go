package shard_test

import (
	"runtime"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
)

// TestManyGroupsRest: so many groups as a node may have come to rest after a start, spread their
// leaders by chance, and then cost nothing.
func TestManyGroupsRest(t *testing.T) {
	const groups = 300
	d := newDrive(t, "a", "b", "c")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range groups {
		g := &shard.Genesis{Descriptor: shard.Descriptor{Shard: shard.ID(i + 1), Class: shard.Region}, Time: d.now}
		for j, n := range d.nodes {
			g.Descriptor.Members = append(g.Descriptor.Members, shard.Member{Number: shard.Number(j + 1), Node: n.name, Role: shard.Voter})
		}
		for _, n := range d.nodes {
			must(t, n.host.Create(g))
		}
	}
	d.run()
	d.ticks(120)
	leaders := map[shard.Node]int{}
	for _, n := range d.nodes {
		for _, s := range n.host.Shards() {
			st, _ := n.host.Status(s)
			if !st.Resting {
				t.Fatalf("%s: %v does not rest", n.name, s)
			}
			if st.Role == shard.Leading {
				leaders[n.name]++
			}
		}
	}
	t.Logf("leaders %v; %d B for each replica, with its store", leaders, (heap()-before)/(3*groups))
	if n := leaders["a"] + leaders["b"] + leaders["c"]; n != groups {
		t.Errorf("%d of %d groups have leaders", n, groups)
	}
	sent, writes := d.sent, d.writes
	d.ticks(200)
	if d.sent != sent || d.writes != writes {
		t.Errorf("%d messages and %d writes at rest", d.sent-sent, d.writes-writes)
	}

	// A node dies: others lead its groups, and all rest again.
	d.drop = cut("a")
	for _, n := range []shard.Node{"b", "c"} {
		d.node(n).host.Lost("a")
		d.node("a").host.Lost(n)
	}
	d.ticks(150)
	for s := range groups {
		found := 0
		for _, n := range []shard.Node{"b", "c"} {
			st, _ := d.node(n).host.Status(shard.ID(s + 1))
			if st.Role == shard.Leading {
				found++
			}
			if !st.Resting {
				t.Fatalf("%s: %d does not rest", n, s+1)
			}
		}
		if found != 1 {
			t.Fatalf("%d has %d leaders", s+1, found)
		}
	}
}
