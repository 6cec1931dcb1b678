package shard_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A plan is everything that is decided before a run. A plan from which something was taken away
// still runs: that is how a failing one shrinks.
type plan struct {
	seed                    uint64
	nodes, spares, shards   int
	publishers, subscribers int
	messages                int // of each publisher
	pace                    time.Duration
	latency                 time.Duration
	lag                     uint64 // bytes of log that are kept for those who lag

	loss, duplicate, reorder, stall float64

	length time.Duration // of the part with faults
	steps  []step
}

// A step is a fault, or a change that an operator makes.
type step struct {
	at     time.Duration
	kind   fault
	node   int // an index, or with leader the shard whose leader it is
	other  int
	leader bool
	length time.Duration
	half   bool
}

type fault int

const (
	killed   fault = iota // the process ends, and begins again
	powerCut              // and what the disk had not synced is gone
	powerAll              // of all nodes
	flapping              // it ends and begins, again and again
	stampede              // all begin at once, and some again in the midst of the election
	stopped               // the process stands still for a while
	isolated              // cut off from all others
	oneWay                // nothing comes from it
	pairCut               // two nodes do not hear each other
	clock                 // a node's clock jumps
	slowDisk              // syncs take long
	damage                // a record of a log is damaged, and found at the next start
	transfer              // leadership is handed over
	replace               // a member goes, another one comes
	policy                // a policy changes
	raise                 // all epochs begin anew
	limits                // of producers
	lastFault
)

func (f fault) String() string {
	return [...]string{"killed", "power cut", "power cut of all", "flapping", "stampede", "stopped", "isolated", "one way", "pair cut",
		"clock", "slow disk", "damage", "transfer", "replace", "policy", "raise", "limits"}[f]
}

func (s step) String() string {
	who := fmt.Sprint("n", s.node)
	if s.leader {
		who = fmt.Sprint("leader of ", s.node+1)
	}
	return fmt.Sprintf("%v: %v, %s, other n%d, %v, half %v", s.at, s.kind, who, s.other, s.length, s.half)
}

// newPlan makes a plan of a seed.
func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 2))
	ms := func(lo, hi int) time.Duration { return time.Duration(lo+r.IntN(hi-lo+1)) * time.Millisecond }
	p := &plan{
		seed: seed, nodes: []int{1, 3, 3, 3, 3, 3, 5}[r.IntN(7)], shards: 1 + r.IntN(2),
		publishers: 8, subscribers: 6, messages: 40, pace: ms(0, 250), latency: ms(1, 8),
		lag: 1 << (11 + r.IntN(8)), length: 12 * time.Second,
	}
	if p.nodes > 1 {
		p.spares = 1
	}
	if r.IntN(2) == 0 {
		p.loss = r.Float64() * 0.05
	}
	if r.IntN(2) == 0 {
		p.duplicate, p.reorder = r.Float64()*0.05, r.Float64()*0.05
	}
	if r.IntN(3) == 0 {
		p.stall = r.Float64() * 0.01
	}
	add := func(k fault, leader bool) {
		s := step{at: ms(1500, 11000), kind: k, node: r.IntN(p.nodes + p.spares), leader: leader,
			other: r.IntN(p.nodes + p.spares), length: ms(100, 4000), half: r.IntN(2) == 0}
		if leader {
			s.node = r.IntN(p.shards)
		}
		p.steps = append(p.steps, s)
	}
	add([]fault{killed, powerCut}[r.IntN(2)], true) // a crash, and at least two changes of leader
	add([]fault{powerCut, stopped, isolated}[r.IntN(3)], true)
	add([]fault{transfer, oneWay, isolated}[r.IntN(3)], true)
	add([]fault{policy, raise, raise, replace}[r.IntN(4)], true)
	for range 2 + r.IntN(6) {
		add(fault(r.IntN(int(lastFault))), r.IntN(3) == 0)
	}
	slices.SortStableFunc(p.steps, func(a, b step) int { return int(a.at - b.at) })
	return p
}

// leader returns the node that leads a shard, as far as it knows.
func (s *sim) leader(id shard.ID) *simNode {
	var best *simNode
	term := uint64(0)
	for _, n := range s.nodes {
		if n.host == nil || n.paused > s.now {
			continue
		}
		if st, ok := n.host.Status(id); ok && st.Role != shard.Following && st.Term > term {
			best, term = n, st.Term
		}
	}
	return best
}

// fault lets a step of the plan happen.
func (s *sim) fault(st *step) {
	if s.draining {
		return
	}
	n := s.nodes[st.node%len(s.nodes)]
	id := s.shards[st.node%len(s.shards)]
	if st.leader {
		if n = s.leader(id); n == nil {
			s.after(300*time.Millisecond, func() { s.fault(st) })
			return
		}
	}
	s.mix(uint64(st.kind), uint64(n.index))
	switch st.kind {
	case killed, powerCut:
		n.crash(st.kind == powerCut, st.half)
		s.after(st.length, func() { n.boots(false) })
	case powerAll:
		s.stats.power++
		for _, n := range s.nodes {
			n.crash(true, st.half)
			s.after(s.between(0, st.length), func() { n.boots(false) })
		}
	case flapping:
		for at := time.Duration(0); at < st.length; at += s.between(50*time.Millisecond, 700*time.Millisecond) {
			s.after(at, func() {
				n.crash(st.half, st.half)
				s.after(s.between(0, 20*time.Millisecond), func() { n.boots(false) })
			})
		}
	case stampede:
		s.stats.power++
		again := func(n *simNode) {
			n.crash(true, st.half)
			s.after(s.between(0, 20*time.Millisecond), func() { n.boots(false) })
		}
		for _, n := range s.nodes {
			again(n)
			for range 4 {
				s.after(s.between(time.Second, 2500*time.Millisecond), func() { again(n) })
			}
		}
	case stopped:
		s.stats.pauses++
		n.paused = max(n.paused, s.now+st.length) // else what waits would be overtaken
	case isolated, oneWay:
		s.stats.cuts++
		for _, o := range s.nodes {
			if o != n {
				s.cuts[[2]int{n.index, o.index}] = s.now + st.length
				if st.kind == isolated {
					s.cuts[[2]int{o.index, n.index}] = s.now + st.length
				}
			}
		}
	case pairCut:
		s.stats.cuts++
		o := s.nodes[st.other]
		s.cuts[[2]int{n.index, o.index}] = s.now + st.length
		s.cuts[[2]int{o.index, n.index}] = s.now + st.length
	case clock:
		n.skew += s.between(-100*time.Second, 100*time.Second)
	case slowDisk:
		s.stats.slow++
		n.slow = s.now + st.length
	case damage:
		s.damage(n, st)
	case transfer:
		s.transfer(id)
	case replace:
		s.replace(id)
	case policy, raise, limits:
		s.command(id, st)
	}
}

// damage flips a bit in the midst of a log, which the node finds when it starts. A quorum of the
// other disks has to be left.
func (s *sim) damage(n *simNode, st *step) {
	if s.plan.nodes < 3 || n.host == nil || slices.ContainsFunc(s.nodes, func(o *simNode) bool { return o.damaged || o.id[1] > 1 }) {
		return
	}
	for _, r := range n.disk.Replicas() {
		if info, err := n.disk.Info(r); err == nil && info.Last.Index > info.Trunc.Index+4 {
			n.disk.Damage(r, info.Trunc.Index+2+uint64(s.rand.IntN(int(info.Last.Index-info.Trunc.Index-3))))
			break
		}
	}
	n.crash(false, false)
	s.after(st.length, func() { n.boots(false) })
}

func (s *sim) transfer(id shard.ID) {
	n := s.leader(id)
	if n == nil {
		return
	}
	st, _ := n.host.Status(id)
	if st.Descriptor == nil {
		return
	}
	for _, m := range st.Descriptor.Members {
		if m.Role == shard.Voter && m.Number != st.Replica.Number && s.chance(0.7) {
			s.stats.transfers++
			n.host.Transfer(id, m.Number, func(error) {})
			n.drain()
			return
		}
	}
}

// replace puts a spare node in the place of a member.
func (s *sim) replace(id shard.ID) {
	n := s.leader(id)
	if n == nil {
		return
	}
	st, _ := n.host.Status(id)
	d := st.Descriptor
	if d == nil || d.Joint || len(d.Members) < 3 {
		return
	}
	out := d.Members[s.rand.IntN(len(d.Members))]
	for _, spare := range s.nodes {
		if spare.host != nil && d.On(spare.name) == nil {
			s.change(n, id, d.Members, []shard.MemberChange{
				{Node: spare.name, Store: spare.id, Role: shard.Learner},
			})
			s.after(1500*time.Millisecond, func() { s.remove(id, out.Number) })
			return
		}
	}
}

// remove takes a member out, whose place another one took.
func (s *sim) remove(id shard.ID, number shard.Number) {
	n := s.leader(id)
	if n == nil {
		return
	}
	st, _ := n.host.Status(id)
	d := st.Descriptor
	if d == nil || d.Joint || d.Member(number) == nil || len(d.Members) <= s.plan.nodes {
		return
	}
	list := []shard.MemberChange{{Number: number}}
	for _, m := range d.Members {
		if m.Role == shard.Learner && m.Number != number {
			list = append(list, shard.MemberChange{Number: m.Number, Role: shard.Voter})
		}
	}
	if len(list) > 1 || d.Member(number).Role == shard.Learner {
		s.change(n, id, d.Members, list)
	}
}

func (s *sim) change(n *simNode, id shard.ID, expect []shard.Member, list []shard.MemberChange) {
	n.host.Change(id, slices.Clone(expect), list, func(err error) {
		if err == nil {
			s.stats.members++
		}
	})
	n.drain()
}

// control is a small operator: nodes whose store is damaged get a new one, and come back as new
// members; learners that have everything become voters.
func (s *sim) control() {
	s.after(700*time.Millisecond, s.control)
	for _, n := range s.nodes {
		if n.damaged {
			n.wipe()
			n.boots(false)
		}
	}
	for _, id := range s.shards {
		n := s.leader(id)
		if n == nil {
			continue
		}
		st, _ := n.host.Status(id)
		d := st.Descriptor
		if d == nil || d.Joint {
			continue
		}
		for _, m := range d.Members {
			o := s.byName[m.Node]
			if o.id != m.Store {
				// The store that the member had is gone.
				s.change(n, id, d.Members, []shard.MemberChange{
					{Number: m.Number}, {Node: o.name, Store: o.id, Role: shard.Learner}})
				break
			}
			if m.Role == shard.Learner && slices.ContainsFunc(st.Members, func(p shard.Progress) bool {
				return p.Number == m.Number && p.Match+20 > st.Commit
			}) && voters(d) < s.plan.nodes {
				s.change(n, id, d.Members, []shard.MemberChange{{Number: m.Number, Role: shard.Voter}})
				break
			}
		}
	}
}

func voters(d *shard.Descriptor) int {
	n := 0
	for _, m := range d.Members {
		if m.Role == shard.Voter {
			n++
		}
	}
	return n
}

// command changes what comes in as commands.
func (s *sim) command(id shard.ID, st *step) {
	n := s.leader(id)
	if n == nil {
		return
	}
	var c shard.Command
	switch st.kind {
	case policy:
		c.Policy = &shard.PolicyChange{Namespace: namespace("few", id),
			Policy: channel.Policy{Age: 2*time.Second + st.length, Count: uint64(5 + st.length.Milliseconds()/100)}}
	case raise:
		c.Raise = &shard.RaiseChange{Floor: relay.Epoch(st.at.Milliseconds()), Broken: true}
	case limits:
		c.Limits = &channel.Limits{Shard: 1 << 26}
	}
	s.stats.commands++
	n.host.Propose(id, []shard.Command{c}, func(error) {})
	n.drain()
}
