package shard_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// A voter that waits for its first state counts for a quorum, so that it has to vote.
func TestAVoterWithoutAStateVotes(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	d.create("a", "b")
	old := d.leader()
	d.node("c").hold = true
	if err := d.change(shard.MemberChange{Node: "c", Role: shard.Voter}); err != nil {
		t.Fatal(err)
	}
	d.ticks(60)
	if got := d.node("c").members(); got != "none" {
		t.Fatalf("c has %s", got)
	}
	d.drop = cut(old.name)
	for _, n := range d.nodes {
		if n != old {
			n.host.Lost(old.name)
		}
	}
	d.ticks(100)
	elected := false
	for _, n := range d.nodes {
		st, _ := n.host.Status(1)
		elected = elected || n != old && st.Role == shard.Elected
	}
	if !elected {
		t.Fatal("two voters of three elect nobody")
	}
	d.node("c").hold = false
	if next := d.leader(); next == old || next.name == "c" {
		t.Fatalf("%s leads", next.name)
	}
	d.leader().acked("demo:x", "with the votes of two of three")
}

// What raft tells itself it must not believe when a peer says it, and nothing makes it panic.
func TestPeersSayOnlyWhatPeersMay(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	d.three()
	entry := &raftpb.Entry{Data: []byte("12345678")}
	for _, typ := range slices.Sorted(maps.Keys(raftpb.MessageType_name)) {
		leader := d.leader()
		st, _ := leader.host.Status(1)
		for _, from := range []uint64{1, 2, 3, 9, raft.LocalAppendThread, raft.LocalApplyThread} {
			if typ := raftpb.MessageType(typ); typ == raftpb.MsgApp || typ == raftpb.MsgHeartbeat || typ == raftpb.MsgSnap || typ == raftpb.MsgTimeoutNow {
				continue // a leader's word counts; raft finds what contradicts itself
			}
			by := shard.Node("b")
			if from <= 3 {
				by = d.nodes[from-1].name
			}
			for _, entries := range [][]*raftpb.Entry{nil, {entry}} {
				leader.host.Receive(by, shard.Message{
					Shard: 1, From: shard.Number(from), To: st.Replica.Number, Incarnation: 0,
					Raft: &raftpb.Message{
						Type: raftpb.MessageType(typ).Enum(), From: new(from), To: new(uint64(st.Replica.Number)),
						Term: new(st.Term), LogTerm: new(st.Term), Index: new(uint64(math.MaxUint32)), Entries: entries, Reject: new(true),
					},
				})
				d.run()
			}
		}
	}
	d.ticks(100)
	d.leader().acked("demo:x", "it goes on")
	d.ticks(10)
	d.same()
}

// A node speaks for its own replica: neither does it store for another, nor say that one is gone.
func TestANodeSpeaksForItself(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	st, _ := leader.host.Status(1)
	var others []*driven
	for _, n := range d.nodes {
		if n != leader {
			others = append(others, n)
		}
	}
	liar, victim := others[0], others[1]
	its, _ := victim.host.Status(1)
	d.drop = cut(leader.name)
	o := leader.publish("demo:x", "on one disk")
	d.run()
	leader.host.Receive(liar.name, shard.Message{
		Shard: 1, From: its.Replica.Number, To: st.Replica.Number, Incarnation: 0,
		Raft: &raftpb.Message{
			Type: raftpb.MsgAppResp.Enum(), From: new(uint64(its.Replica.Number)), To: new(uint64(st.Replica.Number)),
			Term: new(st.Term), Index: new(st.Last + 1),
		},
	})
	d.run()
	if o.answered != 0 {
		t.Errorf("acknowledged by another's word: %+v", o)
	}
	victim.host.Receive(liar.name, shard.Message{Shard: 1, From: st.Replica.Number, To: its.Replica.Number, Gone: true})
	d.run()
	if _, ok := victim.host.Status(1); !ok {
		t.Error("removed by another's word")
	}
}
