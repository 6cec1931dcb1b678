package shard_test

import (
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

func (d *drive) resting() int {
	n := 0
	for _, x := range d.nodes {
		if st, ok := x.host.Status(1); ok && st.Resting {
			n++
		}
	}
	return n
}

func TestIdleGroupsRest(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	leader.acked("demo:x", "one")
	d.ticks(60)
	if n := d.resting(); n != 3 {
		t.Fatalf("%d of 3 rest", n)
	}
	sent, writes := d.sent, d.writes
	d.ticks(1000)
	if d.sent != sent || d.writes != writes {
		t.Errorf("a resting group sent %d messages and wrote %d times", d.sent-sent, d.writes-writes)
	}
	st, _ := leader.host.Status(1)

	// A publish wakes it, under the same leader.
	leader.acked("demo:x", "two")
	d.ticks(5)
	d.same()
	if again, _ := leader.host.Status(1); again.Term != st.Term || again.Resting {
		t.Errorf("after a rest it is %+v", again)
	}
	d.ticks(60)
	if n := d.resting(); n != 3 {
		t.Fatalf("%d of 3 rest again", n)
	}

	// A barrier at a follower does, too.
	for _, n := range d.nodes {
		o := n.ask()
		d.run()
		if o.answered != 1 || o.end.Code != relay.Done {
			t.Errorf("%s: answered %d times, %v", n.name, o.answered, o.end)
		}
	}
}

func TestADeadLeaderWakesTheRest(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	old := d.three()
	d.ticks(60)
	if n := d.resting(); n != 3 {
		t.Fatalf("%d of 3 rest", n)
	}
	d.drop = cut(old.name)
	for _, n := range d.nodes {
		if n != old {
			n.host.Lost(old.name)
			old.host.Lost(n.name)
		}
	}
	d.ticks(45)
	next := d.leader()
	if next == old {
		t.Fatal("the dead one leads")
	}
	next.acked("demo:x", "one")
	if st, _ := old.host.Status(1); st.Role != shard.Following {
		t.Errorf("a resting leader without a quorum still is %v", st.Role)
	}

	// The dead one does not keep the others awake. When it comes back, it catches up.
	d.ticks(100)
	for _, n := range d.nodes {
		if st, _ := n.host.Status(1); n != old && !st.Resting {
			t.Errorf("%s does not rest", n.name)
		}
	}
	d.drop = nil
	for _, n := range d.nodes {
		if n != old {
			n.host.Heard(old.name)
			old.host.Heard(n.name)
		}
	}
	d.ticks(100)
	d.same()
	if n := d.resting(); n != 3 {
		t.Errorf("%d of 3 rest", n)
	}
}

// TestAMissedRest: who does not hear that the group rests wakes it, and it rests later.
func TestAMissedRest(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	st, _ := leader.host.Status(1)
	lost := 0
	d.drop = func(from, to shard.Node, m shard.Message) bool {
		if m.Rest && from == leader.name && lost == 0 {
			lost++
			return true
		}
		return false
	}
	d.ticks(200)
	if lost != 1 {
		t.Fatal("nothing was lost")
	}
	if n := d.resting(); n != 3 {
		t.Errorf("%d of 3 rest", n)
	}
	if now, _ := leader.host.Status(1); now.Term != st.Term {
		t.Errorf("the term went from %d to %d", st.Term, now.Term)
	}
}

func TestARestingFollowerComesBackFromACrash(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	leader.acked("demo:x", "one")
	d.ticks(60)
	for _, n := range d.nodes {
		if n != leader {
			d.crash(n.name)
		}
	}
	d.ticks(200)
	d.same()
	if n := d.resting(); n != 3 {
		t.Errorf("%d of 3 rest", n)
	}
}

// A learner that was gone for a moment, of which nobody was told, finds the leader of a group that
// rests; one whose leader died does not believe in it for ever.
func TestALearnerFindsItsLeader(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	d.create("a", "b")
	old := d.leader()
	if err := d.change(shard.MemberChange{Node: "c", Role: shard.Learner}); err != nil {
		t.Fatal(err)
	}
	d.ticks(60)
	if n := d.resting(); n != 3 {
		t.Fatalf("%d of 3 rest", n)
	}
	d.crash("c")
	d.ticks(30)
	c := d.node("c")
	if st, _ := c.host.Status(1); st.Leader == 0 {
		t.Fatalf("after a restart no leader is known: %+v", st)
	}
	d.ticks(60)
	if n := d.resting(); n != 3 {
		t.Fatalf("%d of 3 rest again", n)
	}
	for _, n := range d.nodes {
		if n != old {
			n.host.Lost(old.name)
		}
	}
	d.drop = cut(old.name)
	d.ticks(60)
	if st, _ := c.host.Status(1); st.Leader != 0 {
		t.Errorf("two voters, of which one is dead, and %d leads", st.Leader)
	}
	d.drop = nil
	for _, n := range d.nodes {
		n.host.Heard(old.name)
	}
	d.leader().acked("demo:x", "one")
	d.ticks(60)
	d.same()
	if st, _ := c.host.Status(1); st.Leader == 0 || !st.Resting {
		t.Errorf("at the end %+v", st)
	}
}

// A follower that lost the way to its resting leader, while both reach the third, does not topple it.
func TestACutOfOneWayKeepsARestingLeader(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	leader.acked("demo:x", "one")
	d.ticks(60)
	if n := d.resting(); n != 3 {
		t.Fatalf("%d of 3 rest", n)
	}
	st, _ := leader.host.Status(1)
	other := d.node("a")
	if other == leader {
		other = d.node("b")
	}
	d.drop = func(from, to shard.Node, _ shard.Message) bool {
		return from == leader.name && to == other.name || from == other.name && to == leader.name
	}
	other.host.Lost(leader.name)
	leader.host.Lost(other.name)
	d.ticks(400)
	now, _ := leader.host.Status(1)
	if now.Role != shard.Leading || now.Term != st.Term {
		t.Fatalf("it is %v in term %d, and led in term %d", now.Role, now.Term, st.Term)
	}
	d.drop = nil
	other.host.Heard(leader.name)
	leader.host.Heard(other.name)
	leader.acked("demo:x", "two")
	d.ticks(100)
	d.same()
	if n := d.resting(); n != 3 {
		t.Errorf("%d of 3 rest again", n)
	}
}
