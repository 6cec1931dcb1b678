package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// world is so many nodes in each region, in zones a, b, c, a…
func world(regions string, each int) []Member {
	var list []Member
	for _, region := range strings.Fields(regions) {
		for i := range each {
			list = append(list, Member{
				Name: shard.Node(fmt.Sprint(region, i)), Address: "x:1", Region: relay.Region(region), Zone: string(rune('a' + i%3)),
			})
		}
	}
	return list
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []Member
		class   shard.Class
		voters  string // voters of each region, home first
	}{
		{"one node", world("r", 1), shard.Region, "1"},
		{"two nodes", world("r", 2), shard.Region, "2"},
		{"three of seven", world("r", 7), shard.Region, "3"},
		{"region stays at home", world("r s t", 4), shard.Region, "3 0 0"},
		{"ephemeral stays at home", world("r s t", 4), shard.Ephemeral, "3 0 0"},
		{"global in one region", world("r", 4), shard.Global, "3"},
		{"global in two", world("r s", 4), shard.Global, "2 1"},
		{"global, one node each", world("r s t", 1), shard.Global, "1 1 1"},
		{"global, three regions", world("r s t", 3), shard.Global, "2 *"},
	} {
		t.Run(c.name, func(t *testing.T) {
			namespaces := map[relay.Namespace]Namespace{"n": {Class: c.class, Home: "r"}}
			p, err := newPlan(c.members, groupsOf(namespaces, 6), namespaces)
			if err != nil {
				t.Fatal(err)
			}
			slices.Reverse(c.members) // the order of the list does not matter
			again, err := newPlan(c.members, groupsOf(namespaces, 6), namespaces)
			if err != nil {
				t.Fatal(err)
			}
			owned := 0
			first := make(map[shard.Node]int)
			for i := range p.shards {
				s := &p.shards[i]
				if !slices.Equal(s.voters, again.shards[i].voters) {
					t.Errorf("shard %v: voters %v, in another order %v", s.id, s.voters, again.shards[i].voters)
				}
				first[s.voters[0]]++
				check(t, s, c.voters)
				if change, ok := p.owned("n", s.id); ok {
					owned += int(change.Last-change.First) + 1
				}
			}
			if owned != relay.Slots {
				t.Errorf("%d slots are owned", owned)
			}
			if c.name == "three of seven" && len(first) < 3 {
				t.Errorf("leaders are not spread: %v", first)
			}
		})
	}
}

// check checks how many voters of a shard each region has, and that zones differ.
func check(t *testing.T, s *planned, want string) {
	t.Helper()
	count := make(map[string]int)
	for _, v := range s.voters {
		count[string(v)[:1]]++
	}
	if string(s.voters[0])[:1] != "r" {
		t.Errorf("shard %v: %v is to lead, and is not at home", s.id, s.voters[0])
	}
	if want == "2 *" {
		if len(s.voters) != 5 || count["r"] != 2 || count["s"]+count["t"] != 3 || count["s"] == 0 || count["t"] == 0 {
			t.Errorf("shard %v: voters %v, want 2, 2 and 1", s.id, s.voters)
		}
		return
	}
	for i, n := range strings.Fields(want) {
		if got := count[string("rst"[i])]; fmt.Sprint(got) != n {
			t.Errorf("shard %v: voters %v, want %s in region %c", s.id, s.voters, n, "rst"[i])
		}
	}
	if want == "3" && len(s.voters) == 3 {
		zones := make(map[byte]bool)
		for _, v := range s.voters {
			zones[(v[1]-'0')%3] = true
		}
		if len(zones) < 3 {
			t.Errorf("shard %v: voters %v are not in three zones", s.id, s.voters)
		}
	}
}

func TestPlanLearners(t *testing.T) {
	namespaces := map[relay.Namespace]Namespace{"n": {Class: shard.Region, Home: "r", Learners: []relay.Region{"s", "t"}}}
	p, err := newPlan(world("r s t", 3), groupsOf(namespaces, 2), namespaces)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.shards {
		if len(s.learners) != 2 || s.learners[0][0] != 's' || s.learners[1][0] != 't' {
			t.Errorf("shard %v: learners %v", s.id, s.learners)
		}
		g := p.genesis(&s, nil)
		if n := len(g.Descriptor.Members); n != 5 || g.Descriptor.Next != 6 || g.Descriptor.Members[4].Role != shard.Learner {
			t.Errorf("shard %v begins as %+v", s.id, g.Descriptor)
		}
	}
}

// A namespace that comes later goes to shards that there are; without any it is refused.
func TestPlanKeepsItsGroups(t *testing.T) {
	namespaces := map[relay.Namespace]Namespace{"n": {Class: shard.Region, Home: "r"}}
	groups := groupsOf(namespaces, 2)
	namespaces["m"] = Namespace{Class: shard.Region, Home: "r"}
	p, err := newPlan(world("r s", 1), groups, namespaces)
	if err != nil || p.owner("m:x") != p.slots["n"][relay.Channel("m:x").Slot()] {
		t.Errorf("m is not with n: %v", err)
	}
	namespaces["g"] = Namespace{Class: shard.Global, Home: "s"}
	if _, err := newPlan(world("r s", 1), groups, namespaces); err == nil || !strings.Contains(err.Error(), `"g"`) {
		t.Errorf("g has no shard: %v", err)
	}
}
