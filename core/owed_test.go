package core

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// What waits when a node stops is answered, though its outcome is not known.
func TestStopAnswersAll(t *testing.T) {
	n, stop := start(t, single(t))
	await(t, n)
	var taken, answered, twice atomic.Int64
	for i := range 3000 {
		ch := relay.Channel(fmt.Sprintf("%s:c%d", relaytest.Plain, i%50))
		once := new(atomic.Bool)
		err := n.Local().Publish(relay.Publication{Channel: ch, Body: relaytest.Body("x", "")}, func(relay.Position, relay.End) {
			if once.Swap(true) {
				twice.Add(1)
			}
			answered.Add(1)
		})
		if err == nil {
			taken.Add(1)
		}
	}
	stop()
	if taken.Load() == 0 || answered.Load() != taken.Load() || twice.Load() > 0 {
		t.Errorf("%d publishes were taken, %d answered, %d twice", taken.Load(), answered.Load(), twice.Load())
	}
}

// Nodes that begin with different files keep the same state all the same: the first leader's.
func TestTheFirstLeaderSaysWhatCounts(t *testing.T) {
	t.Parallel() // it waits more than it works
	list := trio(t)
	for i := range list {
		list[i].Namespaces = map[relay.Namespace]Namespace{
			relaytest.Plain: {Policy: channel.Policy{Count: uint64(10 + i), Payload: 200 + 100*i}},
		}
	}
	nodes, _ := startAll(t, list)
	for i := range 30 {
		p := numbered(relay.Channel(fmt.Sprintf("%s:c%d", relaytest.Plain, i%6)), 1+i/6)
		p.Body = relaytest.Body(string(make([]byte, 50)), "")
		publish(t, nodes[0].Upstream(), p)
	}
	late := time.Now().Add(20 * time.Second)
	for _, s := range nodes[0].local.plan.Load().shards {
		for {
			sums := map[string]bool{}
			for _, n := range nodes {
				sums[describe(n, s.id)] = true
			}
			if len(sums) == 1 {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("the replicas of %v differ: %v", s.id, sums)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// describe tells where a node's replica stands, and the sum of what it has.
func describe(n *Node, id shard.ID) string {
	r := n.local.replica(id)
	if r == nil {
		return "none"
	}
	// Numbers differ, but all three have voted for the same.
	v := n.store.Read(r.id, false)
	defer v.Close()
	var s shard.Summer
	s.Reset()
	for k, value := range v.Ascend(nil, []byte{255, 255, 255}) {
		s.Add(k, value)
	}
	at, _ := shard.ReadApplied(v)
	return fmt.Sprintf("applied %d, sum %x", at.Index, s.Sum())
}

// What a leader cannot do at once for its shard, it does later: an ephemeral one would have no
// memory for as long as it leads.
func TestALeaderTriesAgain(t *testing.T) {
	members := []Member{{Name: "a", Address: "a:1", Region: "r"}}
	spaces := map[relay.Namespace]Namespace{"demo": {Class: shard.Ephemeral, Home: "r"}}
	p, err := newPlan(members, groupsOf(spaces, 1), spaces)
	if err != nil {
		t.Fatal(err)
	}
	host, err := shard.NewHost(shard.HostConfig{Node: "a", Log: noLog{}, States: nothing{}, Freeze: func(shard.Replica) (uint64, shard.Place, shard.Descriptor, error) {
		return 0, shard.Place{}, shard.Descriptor{}, shard.ErrBusy
	}})
	if err != nil {
		t.Fatal(err)
	}
	local := newLocal("a", nothing{}, p, 1<<20, 10)
	now := time.UnixMilli(1_800_000_000_000)
	local.clock = func() time.Time { return now }
	run := newRunner(host, noDisk{}, alone{}, local, &inbox{signal: local.queue.signal}, slog.New(slog.DiscardHandler))
	r := local.open(shard.Replica{Shard: 1, Number: 1})
	d := shard.Descriptor{Shard: 1, Class: shard.Ephemeral, Members: []shard.Member{{Number: 1, Node: "a", Role: shard.Voter}}}
	r.view.Store(&shard.Event{Replica: r.id, Role: shard.Leading, Leader: 1, Term: 2, Descriptor: &d})
	run.remember(context.Background(), r, r.view.Load()) // the Host takes nothing
	for round := range 3 {
		at, owes := run.owing[r]
		if !owes || !at.After(now) {
			t.Fatalf("round %d: the leader gave up", round)
		}
		now = at.Add(time.Millisecond)
		run.again(context.Background())
	}
	// Another leads.
	r.view.Store(&shard.Event{Replica: r.id, Leader: 2, Term: 3, Descriptor: &d})
	now = now.Add(time.Hour)
	run.again(context.Background())
	if len(run.owing) > 0 {
		t.Error("who does not lead any more goes on trying")
	}
}

type noLog struct{ shard.Log }

type noDisk struct{ disk }

func (noDisk) Read(shard.Replica, bool) shard.Reader { return empty{memview.New()} }

// Votes and heartbeats find room where entries do not; nothing does without end.
func TestInboxIsBounded(t *testing.T) {
	in := &inbox{signal: make(chan struct{}, 1)}
	count := func() (n int) {
		for _, r := range in.next.received {
			n += len(r.messages)
		}
		return n
	}
	for range 2 * inboxBytes / messageCost / 100 {
		in.receive("b", make([]shard.Message, 100))
	}
	if n := count(); n == 0 || n > inboxBytes/messageCost {
		t.Errorf("%d messages wait", n)
	}
	if in.dropped == 0 {
		t.Error("nothing was dropped")
	}
}
