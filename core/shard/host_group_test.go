package shard_test

import (
	"errors"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

func (d *drive) three() *driven {
	d.t.Helper()
	d.create("a", "b", "c")
	return d.leader()
}

// cut keeps all messages from and to a node from arriving.
func cut(n shard.Node) func(from, to shard.Node, m shard.Message) bool {
	return func(from, to shard.Node, _ shard.Message) bool { return from == n || to == n }
}

func TestALeaderAloneStepsDown(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	old := d.three()
	before := old.acked("demo:x", "one")
	d.drop = cut(old.name)
	lost := old.publish("demo:x", "in the log of one")
	waiting := make([]*outcome, 0)
	d.run()
	for range 3 {
		waiting = append(waiting, old.publish("demo:x", "waits"))
	}
	d.ticks(60)
	if lost.answered != 1 || lost.end.Code != relay.Unknown {
		t.Errorf("what was in its log is answered %d times, %v", lost.answered, lost.end)
	}
	for _, o := range waiting {
		if o.answered != 1 || o.end.Code.Retry() == relay.Final {
			t.Errorf("what waited is answered %d times, %v", o.answered, o.end)
		}
	}
	if o := old.publish("demo:x", "later"); o.end.Code != relay.Unavailable {
		t.Errorf("a leader of the past answers %v", o.end)
	}
	next := d.leader()
	if next == old {
		t.Fatal("it still leads")
	}
	after := next.acked("demo:x", "two")
	if after.Seq != before.Seq+1 || after.Epoch != before.Epoch {
		t.Errorf("the position is %v, after %v", after, before)
	}
	d.drop = nil
	d.ticks(60)
	if d.leader() != next {
		t.Error("who came back took the lead")
	}
	d.same()
}

func TestTransfer(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	old := d.three()
	st, _ := old.host.Status(1)
	to := shard.Number(1)
	if st.Replica.Number == to {
		to = 2
	}
	old.acked("demo:x", "one")
	calls, result := 0, errors.New("not yet")
	old.host.Transfer(1, to, func(err error) { calls++; result = err })
	d.run()
	if calls != 1 || result != nil {
		t.Fatalf("done was called %d times, with %v", calls, result)
	}
	next := d.leader()
	if st, _ := next.host.Status(1); st.Replica.Number != to {
		t.Errorf("%d leads, want %d", st.Replica.Number, to)
	}
	next.acked("demo:x", "two")

	// To one that cannot be reached.
	d.drop = cut(old.name)
	oldNumber, _ := old.host.Status(1)
	calls = 0
	next.host.Transfer(1, oldNumber.Replica.Number, func(err error) { calls++; result = err })
	d.ticks(40)
	if calls != 1 || result == nil {
		t.Errorf("done was called %d times, with %v", calls, result)
	}
	next.acked("demo:x", "three")
	next.host.Transfer(1, 9, func(err error) { result = err })
	if result == nil {
		t.Error("leadership went to nobody")
	}
}

// ask asks for a barrier.
func (n *driven) ask() *outcome {
	o := &outcome{}
	n.host.Barrier(1, func(end relay.End) { o.end = end; o.answered++ })
	return o
}

func TestBarrier(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	leader.acked("demo:x", "one")
	for _, n := range d.nodes {
		o := n.ask()
		d.run()
		if o.answered != 1 || o.end.Code != relay.Done {
			t.Errorf("%s: answered %d times, %v", n.name, o.answered, o.end)
		}
	}

	// A follower that has not applied what was acknowledged does not pass.
	var slow *driven
	for _, n := range d.nodes {
		if n != leader {
			slow = n
		}
	}
	d.silent[slow.name] = true
	leader.acked("demo:x", "two")
	o := slow.ask()
	d.ticks(5)
	if o.answered != 0 {
		t.Fatalf("it passes at what it has not applied: %v", o.end)
	}
	d.silent[slow.name] = false
	slow.apply()
	d.run()
	if o.answered != 1 || o.end.Code != relay.Done {
		t.Errorf("answered %d times, %v", o.answered, o.end)
	}

	// A leader that is cut off never says that it is up to date.
	d.drop = cut(leader.name)
	o = leader.ask()
	d.ticks(10)
	if o.answered != 0 {
		t.Errorf("a leader alone answers %v", o.end)
	}
	d.ticks(200)
	if o.answered != 1 || o.end.Code == relay.Done {
		t.Errorf("answered %d times, %v", o.answered, o.end)
	}
}

func TestALostQuestionIsAskedAgain(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	var n *driven
	for _, o := range d.nodes {
		if o != leader {
			n = o
		}
	}
	lost := 0
	d.drop = func(from, to shard.Node, m shard.Message) bool {
		if m.Raft != nil && m.Raft.GetType().String() == "MsgReadIndex" && lost == 0 {
			lost++
			return true
		}
		return false
	}
	o := n.ask()
	d.ticks(15)
	if lost != 1 || o.answered != 1 || o.end.Code != relay.Done {
		t.Errorf("%d lost; answered %d times, %v", lost, o.answered, o.end)
	}
}

func TestBudget(t *testing.T) {
	d := newDrive(t, "a")
	a := d.node("a")
	a.tweak = func(c *shard.HostConfig) { c.Budget = 10 * 1024 }
	a.start()
	d.create("a")
	d.lag["a"] = true
	pub := relay.Publication{Channel: "demo:x", Body: make([]byte, 512)}
	taken, answered := 0, 0
	for taken < 20 && a.host.Publish(1, pub, func(relay.Position, relay.End) { answered++ }) == nil {
		taken++
	}
	if taken != 10 {
		t.Errorf("%d were taken, want 10", taken)
	}
	d.run()
	d.lag["a"] = false
	a.sync()
	d.run()
	if answered != taken {
		t.Errorf("%d of %d were answered", answered, taken)
	}
	for range 10 {
		if err := a.host.Publish(1, pub, func(relay.Position, relay.End) {}); err != nil {
			t.Fatalf("the budget is not given back: %v", err)
		}
	}
	if err := a.host.Publish(1, pub, func(relay.Position, relay.End) {}); !errors.Is(err, relay.ErrBusy) {
		t.Errorf("past the budget: %v", err)
	}
}

func TestPublishesShareEntries(t *testing.T) {
	d := newDrive(t, "a")
	d.create("a")
	a := d.node("a")
	d.lag["a"] = true
	before, _ := a.host.Status(1)
	var list []*outcome
	for range 2 { // on their way: the next wait for each other
		list = append(list, a.publish("demo:x", "first"))
		d.run()
	}
	for range 1000 {
		list = append(list, a.publish("demo:x", "more"))
		d.run()
	}
	d.lag["a"] = false
	a.sync()
	d.run()
	for i, o := range list {
		if o.answered != 1 || o.end.Code != relay.Done || o.at.Seq != list[0].at.Seq+relay.Seq(i) {
			t.Fatalf("publish %d: answered %d times, %v %v", i, o.answered, o.at, o.end)
		}
	}
	after, _ := a.host.Status(1)
	if n := after.Last - before.Last; n > 4 {
		t.Errorf("%d publishes took %d entries", len(list), n)
	}
}

func TestRetentionIsProposed(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	leader.acked("demo:x", "one")
	d.ticks(100)
	if st, _ := leader.host.Status(1); !st.Resting {
		t.Fatal("it does not rest")
	}
	if leader.upkeeps > 1 {
		t.Errorf("retention looked %d times before anything was due", leader.upkeeps)
	}
	d.now = d.now.Add(2 * time.Minute)
	d.ticks(5)
	if leader.upkeeps == 0 {
		t.Error("a resting leader forgets retention")
	}
	looks := leader.upkeeps
	d.ticks(200)
	if leader.upkeeps > looks+10 {
		t.Errorf("retention looks all the time: %d times", leader.upkeeps-looks)
	}
	d.same()
}

func TestADiskThatHangsLeavesTheOutcomeOpen(t *testing.T) {
	d := newDrive(t, "a")
	d.create("a")
	a := d.node("a")
	d.lag["a"] = true
	written := []*outcome{a.publish("demo:x", "one")}
	d.run()
	written = append(written, a.publish("demo:x", "two"))
	d.run()
	waits := a.publish("demo:x", "not in an entry")
	d.ticks(190)
	for _, o := range append(written, waits) {
		if o.answered != 0 {
			t.Fatalf("answered after 9.5 s: %v", o.end)
		}
	}
	d.ticks(20)
	for _, o := range written {
		if o.answered != 1 || o.end.Code != relay.Unknown {
			t.Errorf("answered %d times, %v", o.answered, o.end)
		}
	}
	if waits.answered != 1 || waits.end.Code != relay.Unavailable {
		t.Errorf("what waited is answered %d times, %v", waits.answered, waits.end)
	}
	d.lag["a"] = false
	a.sync()
	d.run()
	if at := a.acked("demo:x", "three"); at.Seq != 3 {
		t.Errorf("after two of unknown outcome, which stood, the position is %v", at)
	}
	for _, o := range append(written, waits) {
		if o.answered != 1 {
			t.Errorf("answered %d times", o.answered)
		}
	}
}

// TestNoLeaderServesBeforeItsOwnTerm: entries of an earlier term that it applies are not enough.
func TestNoLeaderServesBeforeItsOwnTerm(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	old := d.three()
	st, _ := old.host.Status(1)
	for _, n := range d.nodes {
		d.silent[n.name] = n != old
	}
	old.acked("demo:x", "one")
	d.ticks(3)
	d.drop = func(from, to shard.Node, m shard.Message) bool {
		return cut(old.name)(from, to, m) || m.Raft != nil && m.Raft.GetType().String() == "MsgApp" && m.Raft.GetTerm() > st.Term
	}
	var next *driven
	for i := 0; next == nil; i++ {
		if i == 200 {
			t.Fatal("nobody was elected")
		}
		d.ticks(1)
		for _, n := range d.nodes {
			if st, _ := n.host.Status(1); n != old && st.Role == shard.Elected {
				next = n
			}
		}
	}
	if len(next.applies) == 0 {
		t.Fatal("nothing of the earlier term is left to apply")
	}
	waits := next.publish("demo:x", "two")
	d.silent = map[shard.Node]bool{}
	next.apply()
	d.run()
	if st, _ := next.host.Status(1); st.Role != shard.Elected || waits.answered != 0 {
		t.Errorf("it is %v, and answered %v", st.Role, waits.end)
	}
	for _, n := range d.nodes {
		n.apply()
	}
	d.drop = nil
	d.ticks(60)
	d.leader().acked("demo:x", "three")
	d.same()
}

// TestALongWayIsPipelined: publishes do not wait for the answers to those before them, but for
// the disk.
func TestALongWayIsPipelined(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	d.drop = func(_, to shard.Node, m shard.Message) bool { return to == leader.name } // still on their way
	before, _ := leader.host.Status(1)
	for range 10 {
		leader.publish("demo:x", "one")
		d.run()
	}
	if st, _ := leader.host.Status(1); st.Last-before.Last != 10 {
		t.Errorf("10 publishes, each after the other's sync, took %d entries", st.Last-before.Last)
	}
	d.lag[leader.name] = true
	before, _ = leader.host.Status(1)
	for range 10 {
		leader.publish("demo:x", "two")
		d.run()
	}
	if st, _ := leader.host.Status(1); st.Last-before.Last != 1 {
		t.Errorf("10 publishes during a sync took %d entries", st.Last-before.Last)
	}
}
