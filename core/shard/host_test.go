package shard_test

import (
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

func TestOneVoterServesAtOnce(t *testing.T) {
	d := newDrive(t, "a")
	d.create("a")
	a := d.node("a")
	if st, _ := a.host.Status(1); st.Role != shard.Leading {
		t.Fatalf("it is %+v, want leading before any tick", st)
	}
	first := a.acked("demo:x", "one")
	second := a.acked("demo:x", "two")
	if second.Seq != first.Seq+1 || second.Epoch != first.Epoch {
		t.Errorf("positions are %v and %v", first, second)
	}
	d.crash("a")
	d.run()
	if third := a.acked("demo:x", "three"); third.Seq != second.Seq+1 || third.Epoch != first.Epoch {
		t.Errorf("after a crash the position is %v, after %v", third, second)
	}
}

func TestNoAnswerBeforeTheLogIsDurable(t *testing.T) {
	d := newDrive(t, "a")
	d.create("a")
	a := d.node("a")
	d.lag["a"] = true
	o := a.publish("demo:x", "one")
	d.run()
	if o.answered != 0 || len(a.held) == 0 {
		t.Fatalf("answered %d times, %d writes wait", o.answered, len(a.held))
	}
	d.lag["a"] = false
	a.sync()
	d.run()
	if o.answered != 1 || o.end.Code != relay.Done {
		t.Errorf("answered %d times, %v", o.answered, o.end)
	}
}

func TestThreeVoters(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	d.create("a", "b", "c")
	leader := d.leader()
	for range 3 {
		leader.acked("demo:x", "hello")
	}
	d.ticks(5)
	d.same()

	// Followers send elsewhere.
	for _, n := range d.nodes {
		if n == leader {
			continue
		}
		o := n.publish("demo:x", "not here")
		if o.end.Code != relay.Moved || len(o.end.Hint.Alternatives) != 1 ||
			o.end.Hint.Alternatives[0] != string(leader.name) || o.end.Hint.Shard != "s1" {
			t.Errorf("%s answers %+v", n.name, o.end)
		}
	}

	// All crash: nothing acknowledged is lost.
	last := leader.acked("demo:x", "last")
	for _, n := range d.nodes {
		d.crash(n.name)
	}
	if at := d.leader().acked("demo:x", "again"); at.Seq != last.Seq+1 || at.Epoch != last.Epoch {
		t.Errorf("after a crash of all the position is %v, after %v", at, last)
	}
	d.ticks(5)
	d.same()
}

// TestNoVoteBeforeItIsDurable: a vote leaves a node when its log has it, and a crash does not
// take it back.
func TestNoVoteBeforeItIsDurable(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	d.create("a", "b", "c")
	d.lag["b"], d.lag["c"] = true, true
	d.ticks(60)
	for _, n := range d.nodes {
		if st, _ := n.host.Status(1); st.Role != shard.Following {
			t.Fatalf("%s leads by votes that are not durable", n.name)
		}
	}
	d.lag["b"], d.lag["c"] = false, false
	leader := d.leader()
	st, _ := leader.host.Status(1)
	for _, n := range d.nodes {
		d.crash(n.name)
		now, _ := n.host.Status(1)
		info, err := n.store.Info(now.Replica)
		must(t, err)
		if now.Term < st.Term || info.Hard.GetVote() == 0 && n == leader {
			t.Errorf("%s begins again at term %d with a vote for %d, after %d", n.name, now.Term, info.Hard.GetVote(), st.Term)
		}
	}
}
