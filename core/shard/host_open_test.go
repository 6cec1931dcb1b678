package shard_test

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// Who has applied its own removal, and crashed before it was removed, is so at the next start:
// nobody else would tell it, and it would be read for ever.
func TestARemovedReplicaIsNotOpened(t *testing.T) {
	d := newDrive(t, "a", "b", "c", "d")
	g := d.create("a", "b", "c")
	leader := d.leader()
	n, id := d.node("d"), shard.Replica{Shard: 1, Number: 9}
	must(t, n.store.Write(&shard.Write{Replica: id, Create: true, Genesis: g, Sync: true}))
	must(t, n.store.Sync())
	must(t, n.host.Open(id))
	from, _ := leader.host.Status(1)
	for range 2 { // a word of its group that is late makes no other of it
		n.host.Receive(leader.name, shard.Message{Shard: 1, From: from.Replica.Number, To: 9, Raft: &raftpb.Message{
			Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(from.Replica.Number)), To: new(uint64(9)), Term: new(from.Term),
		}})
	}
	d.run()
	if _, ok := n.host.Status(1); ok {
		t.Error("it takes part")
	}
	if _, err := n.store.Info(id); !errors.Is(err, shard.ErrRemoved) {
		t.Errorf("it is still there: %v", err)
	}
	leader.acked("demo:x", "one")
}

// A question whose answer a follower knows, but never comes to apply, ends too.
func TestAKnownQuestionEnds(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	n := d.node("a")
	if n == leader {
		n = d.node("b")
	}
	d.silent[n.name] = true
	leader.acked("demo:x", "one")
	d.ticks(5)
	o := n.ask()
	d.ticks(90)
	if o.answered != 0 {
		t.Fatalf("answered early: %v", o.end)
	}
	d.ticks(20)
	if o.answered != 1 || o.end.Code != relay.Unavailable {
		t.Fatalf("answered %d times, %v", o.answered, o.end)
	}
	d.silent[n.name] = false
	n.apply()
	d.run()
	again := n.ask()
	d.ticks(5)
	if o.answered != 1 || again.end.Code != relay.Done || again.answered != 1 {
		t.Errorf("later: answered %d times; the next one %d times, %v", o.answered, again.answered, again.end)
	}
}
