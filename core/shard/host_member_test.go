package shard_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// change changes the membership of shard 1 and lets that happen.
func (d *drive) change(list ...shard.MemberChange) error {
	d.t.Helper()
	leader := d.leader()
	st, _ := leader.host.Status(1)
	calls, result := 0, errors.New("not ended")
	leader.host.Change(1, st.Descriptor.Members, list, func(err error) { calls++; result = err })
	for range 200 {
		if calls > 0 {
			break
		}
		d.ticks(1)
	}
	if calls > 1 {
		d.t.Errorf("done was called %d times", calls)
	}
	return result
}

// members tells the membership as a node has it.
func (n *driven) members() string {
	st, ok := n.host.Status(1)
	if !ok || st.Descriptor == nil {
		return "none"
	}
	var b strings.Builder
	for _, m := range st.Descriptor.Members {
		fmt.Fprintf(&b, "%d %s %v, ", m.Number, m.Node, m.Role)
	}
	return strings.TrimSuffix(b.String(), ", ")
}

func TestALearnerIsAddedPromotedAndRemoved(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	d.create("a")
	a := d.node("a")
	for range 20 {
		a.acked("demo:x", "hello")
	}
	if err := d.change(shard.MemberChange{Node: "b", Role: shard.Learner}); err != nil {
		t.Fatal(err)
	}
	d.ticks(10)
	d.same()
	if got := d.node("b").members(); got != "1 a voter, 2 b learner" {
		t.Errorf("b has %s", got)
	}
	if err := d.change(shard.MemberChange{Number: 2, Role: shard.Voter}, shard.MemberChange{Node: "c", Role: shard.Voter}); err != nil {
		t.Fatal(err)
	}
	d.ticks(10)
	for _, n := range d.nodes {
		if got := n.members(); got != "1 a voter, 2 b voter, 3 c voter" {
			t.Errorf("%s has %s", n.name, got)
		}
	}
	d.same()

	// The leader removes itself; the others go on.
	if err := d.change(shard.MemberChange{Number: 1}); err != nil {
		t.Fatal(err)
	}
	d.ticks(60)
	if got := a.members(); got != "none" {
		t.Errorf("a has %s", got)
	}
	if _, err := a.store.Info(shard.Replica{Shard: 1, Number: 1}); !errors.Is(err, shard.ErrRemoved) {
		t.Errorf("its log: %v", err)
	}
	d.leader().acked("demo:x", "without a")
	d.ticks(5)
	d.same()

	// It comes back under a new number.
	if err := d.change(shard.MemberChange{Node: "a", Role: shard.Voter}); err != nil {
		t.Fatal(err)
	}
	d.ticks(20)
	if got := a.members(); got != "2 b voter, 3 c voter, 4 a voter" {
		t.Errorf("a has %s", got)
	}
	d.same()
}

func TestAChangeExpectsTheMembership(t *testing.T) {
	d := newDrive(t, "a", "b")
	d.create("a")
	a := d.node("a")
	st, _ := a.host.Status(1)
	if err := d.change(shard.MemberChange{Node: "b", Role: shard.Learner}); err != nil {
		t.Fatal(err)
	}
	var result error
	a.host.Change(1, st.Descriptor.Members, []shard.MemberChange{{Node: "b", Role: shard.Learner}}, func(err error) { result = err })
	if !errors.Is(result, shard.ErrExpected) {
		t.Errorf("a change of what is no more: %v", result)
	}
	for _, c := range [][]shard.MemberChange{
		{{Number: 1}},                                 // the last voter
		{{Number: 1, Role: shard.Learner}},            // likewise
		{{Number: 7, Role: shard.Voter}},              // nobody
		{{Number: 2}, {Number: 2, Role: shard.Voter}}, // twice
		{{Role: shard.Voter}},                         // nowhere
		{{Number: 2, Role: shard.Incoming}},           // no role to ask for
		{},                                            // nothing
	} {
		if err := d.change(c...); err == nil {
			t.Errorf("%+v was done", c)
		}
	}
	a.acked("demo:x", "it goes on")
}

func TestWhoWasRemovedUnheardIsTold(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	var away *driven
	for _, n := range d.nodes {
		if n != leader {
			away = n
		}
	}
	st, _ := away.host.Status(1)
	d.drop = cut(away.name)
	if err := d.change(shard.MemberChange{Number: st.Replica.Number}); err != nil {
		t.Fatal(err)
	}
	d.ticks(10)
	if away.members() == "none" {
		t.Fatal("it cannot know yet")
	}
	d.drop = nil
	d.ticks(60)
	if got := away.members(); got != "none" {
		t.Errorf("it has %s", got)
	}
	if now := d.leader(); now != leader {
		t.Errorf("who was removed disturbed the group: %s leads", now.name)
	}
}

func TestAMemberFarBehindGetsASnapshot(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	for _, n := range d.nodes {
		n.tweak = func(c *shard.HostConfig) { c.LagShard = 4096 }
		n.start()
		for _, o := range d.nodes {
			n.host.Heard(o.name)
		}
	}
	leader := d.three()
	var away *driven
	for _, n := range d.nodes {
		if n != leader {
			away = n
		}
	}
	d.drop = cut(away.name)
	last := leader.acked("demo:x", "first")
	flush := func() {
		for _, n := range d.nodes {
			must(t, n.store.Flush())
			n.host.Flushed()
		}
		d.run()
	}
	flush()
	first, _ := leader.host.Status(1)
	leader.acked("demo:x", "kept for who lags")
	flush()
	if st, _ := leader.host.Status(1); st.First > first.Last {
		t.Errorf("the log begins at %d, before the bound of lag is reached", st.First)
	}
	for range 100 {
		last = leader.acked("demo:x", strings.Repeat("x", 200))
	}
	flush()
	st, _ := leader.host.Status(1)
	if st.First <= first.Last {
		t.Errorf("the log still begins at %d", st.First)
	}

	// The first offers are lost, the first fetch fails.
	lost := 0
	d.drop = func(from, to shard.Node, m shard.Message) bool {
		if m.Raft != nil && m.Raft.GetSnapshot() != nil && lost < 1 {
			lost++
			return true
		}
		return false
	}
	away.hold = true
	for i := 0; len(away.fetches) == 0; i++ {
		if i == 200 {
			t.Fatal("no fetch")
		}
		d.ticks(1)
	}
	f := away.fetches[0]
	away.fetches = nil
	away.host.Fetched(f, nil, errors.New("cut off"))
	leader.frozen = map[uint64]shard.Frozen{} // so that only another snapshot helps
	away.hold = false
	d.ticks(100)
	d.same()
	if lost == 0 {
		t.Error("no offer was lost")
	}
	d.drop = nil
	if at := d.leader().acked("demo:x", "after"); at.Seq != last.Seq+1 {
		t.Errorf("the position is %v, after %v", at, last)
	}
	d.ticks(5)
	d.same()
	d.crash(away.name)
	d.ticks(60)
	d.same()
}

func TestAnApplyThatIsOutIsNotOvertakenByASnapshot(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	for _, n := range d.nodes {
		n.tweak = func(c *shard.HostConfig) { c.LagShard = 1 }
		n.start()
		for _, o := range d.nodes {
			n.host.Heard(o.name)
		}
	}
	leader := d.three()
	var away *driven
	for _, n := range d.nodes {
		if n != leader {
			away = n
		}
	}
	d.silent[away.name] = true
	leader.acked("demo:x", "handed to an Apply that hangs")
	d.ticks(2)
	if len(away.applies) == 0 {
		t.Fatal("nothing is out")
	}
	d.drop = cut(away.name)
	for range 10 {
		leader.acked("demo:x", "missed")
	}
	for _, n := range d.nodes {
		must(t, n.store.Flush())
		n.host.Flushed()
	}
	d.run()
	d.drop = nil
	d.ticks(20)
	for _, w := range away.held {
		t.Errorf("a write waits: %+v", w)
	}
	if st, _ := away.host.Status(1); st.Last > 10 && st.First == st.Last+1 {
		t.Error("the snapshot was taken in while an Apply was out")
	}
	d.silent[away.name] = false
	away.apply()
	d.ticks(60)
	d.same()
}

func TestAHigherIncarnationStopsAReplica(t *testing.T) {
	t.Run("message", func(t *testing.T) {
		testOutlived(t, func(n *driven, from shard.Node, m shard.Message) { n.host.Receive(from, m) })
	})
	t.Run("shown", func(t *testing.T) {
		testOutlived(t, func(n *driven, _ shard.Node, m shard.Message) {
			n.host.Shown(m.Shard, 1) // its own
			n.host.Shown(m.Shard+1, 7)
			n.host.Shown(m.Shard, m.Incarnation)
		})
	})
}

func testOutlived(t *testing.T, show func(n *driven, from shard.Node, m shard.Message)) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	var n *driven
	for _, o := range d.nodes {
		if o != leader {
			n = o
		}
	}
	st, _ := n.host.Status(1)
	from, _ := leader.host.Status(1)
	m := shard.Message{Shard: 1, From: from.Replica.Number, To: st.Replica.Number, Incarnation: 7}
	show(n, leader.name, m)
	d.run()
	stopped := false
	for _, e := range d.events {
		stopped = stopped || e.Stopped && e.Replica == st.Replica
	}
	if !stopped {
		t.Error("no event tells that it stopped")
	}
	o := n.ask()
	if o.answered != 1 || o.end.Code == relay.Done {
		t.Errorf("it serves: %v", o.end)
	}
	d.ticks(100)
	leader.acked("demo:x", "the others go on")
}

func TestVersionsRiseWhenAllCan(t *testing.T) {
	d := newDrive(t, "a", "b")
	can := map[shard.Node]uint64{"a": 3, "b": 2}
	for _, n := range d.nodes {
		n.tweak = func(c *shard.HostConfig) {
			c.Version = can[n.name]
			c.VersionOf = func(o shard.Node) uint64 { return can[o] }
		}
		n.start()
		for _, o := range d.nodes {
			n.host.Heard(o.name)
		}
	}
	d.create("a", "b")
	leader := d.leader()
	result := errors.New("not ended")
	leader.host.Propose(1, []shard.Command{{Version: 3}}, func(err error) { result = err })
	if result == nil {
		t.Error("a version that b cannot was proposed")
	}
	result = errors.New("not ended")
	leader.host.Propose(1, []shard.Command{{Version: 2}}, func(err error) { result = err })
	d.ticks(5)
	if result != nil {
		t.Error(result)
	}
	for _, n := range d.nodes {
		if st, _ := n.host.Status(1); st.Descriptor.Version != 2 {
			t.Errorf("%s has version %d", n.name, st.Descriptor.Version)
		}
	}
}

func TestALogIsTruncatedOnlyBehindTheDurableState(t *testing.T) {
	d := newDrive(t, "a")
	d.create("a")
	a := d.node("a")
	for range 10 {
		a.acked("demo:x", "one")
	}
	before, _ := a.host.Status(1)
	a.host.Flushed()
	d.run()
	if st, _ := a.host.Status(1); st.First != before.First || before.First > 2 {
		t.Errorf("the log begins at %d, and no state was flushed", st.First)
	}
	must(t, a.store.Flush())
	a.acked("demo:x", "two")
	a.host.Flushed()
	d.run()
	st, _ := a.host.Status(1)
	if st.First != before.Last+1 || st.LogBytes >= before.LogBytes {
		t.Errorf("the log begins at %d with %d bytes, want %d", st.First, st.LogBytes, before.Last+1)
	}
	d.crash("a")
	d.run()
	if at := a.acked("demo:x", "three"); at.Seq != 12 {
		t.Errorf("after a crash the position is %v", at)
	}
}

func TestALearnerThatComesBackWakesTheRest(t *testing.T) {
	d := newDrive(t, "a", "b")
	d.create("a")
	a, b := d.node("a"), d.node("b")
	if err := d.change(shard.MemberChange{Node: "b", Role: shard.Learner}); err != nil {
		t.Fatal(err)
	}
	d.ticks(60)
	d.drop = cut("b")
	a.host.Lost("b")
	b.host.Lost("a")
	a.acked("demo:x", "missed")
	d.ticks(60)
	if st, _ := a.host.Status(1); !st.Resting {
		t.Fatal("a dead learner keeps the group awake")
	}
	d.drop = nil
	a.host.Heard("b")
	b.host.Heard("a")
	d.ticks(20)
	d.same()
}

func TestAReplicaIsRemovedWhenNoApplyIsOut(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	var n *driven
	for _, o := range d.nodes {
		if o != leader {
			n = o
		}
	}
	st, _ := n.host.Status(1)
	d.silent[n.name] = true
	leader.acked("demo:x", "hangs")
	d.ticks(2)
	if len(n.applies) == 0 {
		t.Fatal("nothing is out")
	}
	from, _ := leader.host.Status(1)
	n.host.Receive(leader.name, shard.Message{Shard: 1, From: from.Replica.Number, To: st.Replica.Number, Gone: true})
	d.run()
	if _, err := n.store.Info(st.Replica); err != nil {
		t.Errorf("it was removed under an Apply: %v", err)
	}
	d.silent[n.name] = false
	n.apply()
	d.run()
	if _, err := n.store.Info(st.Replica); !errors.Is(err, shard.ErrRemoved) {
		t.Errorf("it is still there: %v", err)
	}
	d.ticks(10)
	if _, ok := n.host.Status(1); ok {
		t.Error("a removed replica was made again")
	}
}

// TestTheNodeBoundsAllLogs: past the bound of the node, no log waits for who lags.
func TestTheNodeBoundsAllLogs(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	for _, n := range d.nodes {
		n.tweak = func(c *shard.HostConfig) { c.LagNode = 2048 }
		n.start()
		for _, o := range d.nodes {
			n.host.Heard(o.name)
		}
	}
	leader := d.three()
	for _, n := range d.nodes {
		if n != leader {
			d.drop = cut(n.name)
		}
	}
	flush := func() shard.Status {
		leader.acked("demo:x", "one")
		must(t, leader.store.Flush())
		leader.host.Flushed()
		d.run()
		st, _ := leader.host.Status(1)
		return st
	}
	kept := flush()
	for range 3 {
		if st := flush(); st.First != kept.First {
			t.Fatalf("the log begins at %d, with %d bytes", st.First, st.LogBytes)
		}
	}
	for range 10 {
		leader.acked("demo:x", strings.Repeat("x", 300))
	}
	if st := flush(); st.First != st.Last+1 || st.LogBytes != 0 {
		t.Errorf("the log is %d to %d, with %d bytes", st.First, st.Last, st.LogBytes)
	}
	d.drop = nil
	d.ticks(60)
	d.same()
}
