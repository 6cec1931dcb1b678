package shard_test

import (
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// prefer says who is to lead shard 1, and lets that happen.
func (d *drive) prefer(m shard.Number) error {
	d.t.Helper()
	result := errors.New("not ended")
	d.leader().host.Propose(1, []shard.Command{{Prefer: &shard.PreferChange{Member: m}}}, func(err error) { result = err })
	d.ticks(10)
	return result
}

// preferred fails the test unless every replica has the same wish.
func (d *drive) preferred(want shard.Number) {
	d.t.Helper()
	for _, n := range d.nodes {
		if st, ok := n.host.Status(1); ok && st.Descriptor.Prefer != want {
			d.t.Errorf("%s has member %d as preferred, want %d", n.name, st.Descriptor.Prefer, want)
		}
	}
}

// Who is preferred stands in the log, is the same everywhere, outlives a crash, and ends with the
// member, whichever way that goes.
func TestWhoIsPreferred(t *testing.T) {
	d := newDrive(t, "a", "b", "c", "e")
	d.three()
	d.preferred(0)
	if err := d.prefer(2); err != nil {
		t.Fatal(err)
	}
	d.preferred(2)
	if err := d.prefer(9); err == nil {
		t.Error("a member that there is not was preferred")
	}
	d.preferred(2)
	for _, name := range []shard.Node{"a", "b", "c"} {
		d.crash(name)
	}
	d.leader().acked("demo:x", "after the crash")
	d.ticks(10)
	d.preferred(2)
	d.same()
	if err := d.prefer(0); err != nil {
		t.Fatal(err)
	}
	d.preferred(0)

	// In one step, and, with another change beside it, in a joint one.
	for _, also := range [][]shard.MemberChange{nil, {{Node: "e", Role: shard.Voter}}} {
		st, _ := d.leader().host.Status(1)
		var number shard.Number
		for _, m := range st.Descriptor.Members {
			if m.Number != st.Leader {
				number = m.Number
			}
		}
		if err := d.prefer(number); err != nil {
			t.Fatal(err)
		}
		d.preferred(number)
		if err := d.change(append(also, shard.MemberChange{Number: number})...); err != nil {
			t.Fatal(err)
		}
		d.ticks(20)
		d.preferred(0)
		d.same()
	}
}

// A learner gets a vote when it has what the others have, and not before: a vote that cannot
// acknowledge would hold publishes up.
func TestALearnerWithoutAStateGetsNoVote(t *testing.T) {
	d := newDrive(t, "a", "b")
	d.create("a")
	a := d.node("a")
	a.acked("demo:x", "hello")
	change := func(c shard.MemberChange) error {
		st, _ := a.host.Status(1)
		result := errors.New("not ended")
		a.host.Change(1, st.Descriptor.Members, []shard.MemberChange{c}, func(err error) { result = err })
		d.ticks(10)
		return result
	}
	away := func(_, to shard.Node, _ shard.Message) bool { return to == "b" }
	d.drop = away
	if err := change(shard.MemberChange{Node: "b", Role: shard.Learner}); err != nil {
		t.Fatal(err)
	}
	promote := shard.MemberChange{Number: 2, Role: shard.Voter}
	var refused *relay.Error
	if err := change(promote); !errors.As(err, &refused) || refused.End.Code != relay.Busy {
		t.Errorf("a learner without a state was promoted: %v", err)
	}
	if got := a.members(); got != "1 a voter, 2 b learner" {
		t.Errorf("a has %s", got)
	}
	d.drop = nil
	d.ticks(100)
	// It has a state now, and is far behind again.
	d.drop = away
	for range 1100 {
		a.acked("demo:x", "more")
	}
	if err := change(promote); err == nil {
		t.Error("a learner that is far behind was promoted")
	}
	d.drop = nil
	d.ticks(100)
	if err := change(promote); err != nil {
		t.Error(err)
	}
	a.acked("demo:x", "with two votes")
	d.ticks(10)
	d.same()
}
