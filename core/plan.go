package core

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A Member is a node as the static list names it.
type Member struct {
	Name    shard.Node
	Address string // HOST:PORT, UDP, for nodes and edges
	Region  relay.Region
	Zone    string
}

// A Namespace is channels under one policy, and where they are kept.
type Namespace struct {
	Policy   channel.Policy
	Class    shard.Class    // 0: region
	Home     relay.Region   // empty: the region of the first node in the list
	Learners []relay.Region // one copy that has no vote in each
}

// A group is shards that are alike: namespaces of one class and home share them.
type group struct {
	Class    shard.Class    `json:"class"`
	Home     relay.Region   `json:"home"`
	Learners []relay.Region `json:"learners,omitempty"`
	Shards   int            `json:"shards"`
}

// A plan says how a fleet begins, and, for what this node has no replica of, where to ask.
// It is a pure function of the configuration: the same on all nodes.
type plan struct {
	groups     []group
	shards     []planned // the ID is the index plus one
	namespaces map[relay.Namespace]Namespace
	slots      map[relay.Namespace]*[relay.Slots]shard.ID
}

// A planned shard.
type planned struct {
	id       shard.ID
	group    int
	voters   []shard.Node // the first is to lead
	learners []shard.Node
}

// nodes returns voters and learners.
func (p *planned) nodes() []shard.Node { return slices.Concat(p.voters, p.learners) }

// groupsOf returns the groups that namespaces want, in order.
func groupsOf(namespaces map[relay.Namespace]Namespace, shards int) []group {
	var list []group
	for _, ns := range namespaces {
		i := slices.IndexFunc(list, ns.in)
		if i < 0 {
			i = len(list)
			list = append(list, group{Class: ns.Class, Home: ns.Home, Shards: shards})
		}
		list[i].Learners = append(list[i].Learners, ns.Learners...)
	}
	for i := range list {
		slices.Sort(list[i].Learners)
		list[i].Learners = slices.Compact(list[i].Learners)
	}
	slices.SortFunc(list, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Home, b.Home))
	})
	return list
}

func (n *Namespace) in(g group) bool { return g.Class == n.Class && g.Home == n.Home }

// newPlan plans shards on members.
func newPlan(members []Member, groups []group, namespaces map[relay.Namespace]Namespace) (*plan, error) {
	p := &plan{groups: groups, namespaces: namespaces, slots: make(map[relay.Namespace]*[relay.Slots]shard.ID)}
	first := make([]shard.ID, len(groups))
	for i, g := range groups {
		first[i] = shard.ID(len(p.shards) + 1)
		for range g.Shards {
			s := planned{id: shard.ID(len(p.shards) + 1), group: i}
			s.voters = voters(members, g, s.id)
			if len(s.voters) == 0 {
				return nil, fmt.Errorf("class %v at home %q: no node is in that region; name one in nodes", g.Class, g.Home)
			}
			s.learners = learners(members, g, &s)
			p.shards = append(p.shards, s)
		}
	}
	for name, ns := range namespaces {
		i := slices.IndexFunc(groups, ns.in)
		if i < 0 {
			return nil, fmt.Errorf("namespace %q: this fleet has no shard of class %v at home %q; classes and homes are fixed when a fleet begins",
				name, ns.Class, ns.Home)
		}
		var slots [relay.Slots]shard.ID
		for slot := range slots {
			slots[slot] = first[i] + shard.ID(slot*groups[i].Shards/relay.Slots)
		}
		p.slots[name] = &slots
	}
	return p, nil
}

// owner returns the shard that owns a channel; 0: no such namespace.
func (p *plan) owner(ch relay.Channel) shard.ID {
	if slots := p.slots[ch.Namespace()]; slots != nil {
		return slots[ch.Slot()]
	}
	return 0
}

// of returns a planned shard, or nil.
func (p *plan) of(id shard.ID) *planned {
	if id == 0 || int(id) > len(p.shards) {
		return nil
	}
	return &p.shards[id-1]
}

// ranked returns members in an order that differs from shard to shard, so that work is spread:
// rendezvous hashing (Thaler and Ravishankar, 1998).
func ranked(members []Member, id shard.ID) []Member {
	weight := func(m Member) uint64 {
		return xxhash.Sum64(append(binary.BigEndian.AppendUint64(nil, uint64(id)), m.Name...))
	}
	list := slices.Clone(members)
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// within returns up to n nodes of a region, in distinct zones as far as there are.
func within(list []Member, region relay.Region, n int) []shard.Node {
	var picked []shard.Node
	zones := make(map[string]bool)
	for _, again := range []bool{false, true} {
		for _, m := range list {
			if len(picked) == n || m.Region != region || zones[m.Zone] != again || slices.Contains(picked, m.Name) {
				continue
			}
			zones[m.Zone] = true
			picked = append(picked, m.Name)
		}
	}
	return picked
}

// voters picks a shard's, the first of which is to lead. In one region three, which rotate so
// that leaders are spread evenly; of class global, five in three regions (home 2, 2 and 1) or
// three in three; fewer where there are fewer nodes.
func voters(members []Member, g group, id shard.ID) []shard.Node {
	list := ranked(members, id)
	if g.Class == shard.Global {
		var regions []relay.Region
		for _, m := range list {
			if m.Region != g.Home && !slices.Contains(regions, m.Region) {
				regions = append(regions, m.Region)
			}
		}
		home := within(list, g.Home, 2)
		switch {
		case len(home) == 0 || len(regions) == 0: // as within one region
		case len(regions) == 1:
			return slices.Concat(home, within(list, regions[0], 3-len(home)))
		default:
			slices.SortStableFunc(regions, func(a, b relay.Region) int {
				return cmp.Compare(len(within(list, b, 2)), len(within(list, a, 2)))
			})
			second := within(list, regions[0], 2)
			if len(home) == 2 && len(second) == 2 {
				return slices.Concat(home, second, within(list, regions[1], 1))
			}
			return slices.Concat(home[:1], second[:1], within(list, regions[1], 1))
		}
	}
	picked := within(list, g.Home, 3)
	slices.Sort(picked)
	if n := len(picked); n > 0 {
		turn := int(id-1) % n
		picked = slices.Concat(picked[turn:], picked[:turn])
	}
	return picked
}

func learners(members []Member, g group, s *planned) []shard.Node {
	var picked []shard.Node
	for _, region := range g.Learners {
		for _, name := range within(ranked(members, s.id), region, len(members)) {
			if !slices.Contains(s.voters, name) {
				picked = append(picked, name)
				break
			}
		}
	}
	return picked
}

// digest names what nodes must agree on before a fleet begins: where its nodes are, which shards
// there are, and which of them own what. Addresses may differ, and retention is the first leader's.
func (p *plan) digest(members []Member) string {
	h := sha256.New()
	members = slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range members {
		fmt.Fprintf(h, "node %q %q %q\n", m.Name, m.Region, m.Zone)
	}
	for i, g := range p.groups {
		fmt.Fprintf(h, "group %d %q %q %d\n", g.Class, g.Home, g.Learners, g.Shards)
		for _, name := range p.names(i) {
			fmt.Fprintf(h, "namespace %q\n", name)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// genesis returns how a shard begins, on the stores that its nodes came with.
func (p *plan) genesis(s *planned, stores map[shard.Node]shard.StoreID) *shard.Genesis {
	g := p.groups[s.group]
	d := shard.Descriptor{Shard: s.id, Class: g.Class, Incarnation: 1, Version: 1}
	add := func(names []shard.Node, role shard.Role) {
		for _, name := range names {
			d.Members = append(d.Members, shard.Member{
				Number: shard.Number(len(d.Members) + 1), Node: name, Store: stores[name], Role: role,
			})
		}
	}
	add(s.voters, shard.Voter)
	add(s.learners, shard.Learner)
	d.Next = shard.Number(len(d.Members) + 1)
	gen := &shard.Genesis{Descriptor: d, Time: time.UnixMilli(0)}
	for _, name := range p.names(s.group) {
		ns := p.namespaces[name]
		gen.Policies = append(gen.Policies, shard.PolicyChange{Namespace: name, Policy: ns.Policy})
		if c, ok := p.owned(name, s.id); ok {
			gen.Slots = append(gen.Slots, c)
		}
	}
	return gen
}

// names returns a group's namespaces, in order.
func (p *plan) names(group int) []relay.Namespace {
	var list []relay.Namespace
	for name, ns := range p.namespaces {
		if ns.in(p.groups[group]) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// owned returns the slots of a namespace that a shard begins with: neighbours.
func (p *plan) owned(name relay.Namespace, id shard.ID) (c shard.SlotChange, ok bool) {
	c = shard.SlotChange{Namespace: name, Own: true}
	for slot, owner := range p.slots[name] {
		if owner != id {
			continue
		}
		if !ok {
			c.First, ok = relay.Slot(slot), true
		}
		c.Last = relay.Slot(slot)
	}
	return c, ok
}

// checkMembers refuses a list that cannot be used.
func checkMembers(list []Member, self shard.Node) error {
	names := make(map[shard.Node]bool)
	for _, m := range list {
		if m.Name == "" || m.Address == "" || m.Region == "" {
			return fmt.Errorf("node %q: name, address and region are needed; found address %q, region %q", m.Name, m.Address, m.Region)
		}
		if names[m.Name] {
			return fmt.Errorf("node %q: stands twice in the list of nodes; every node has a name of its own", m.Name)
		}
		names[m.Name] = true
	}
	if len(list) == 0 {
		return errors.New("no nodes: the list names every node of the fleet, this one among them")
	}
	if !names[self] {
		return fmt.Errorf("node %q is not in the list of nodes; add it, or set name to one that is", self)
	}
	return nil
}
