package core

import (
	"context"
	"log/slog"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// The runner counts the replicas that know no leader, each once, for as long as they are here.
func TestLeaderlessCount(t *testing.T) {
	members := []Member{{Name: "a", Address: "a:1", Region: "r"}}
	spaces := map[relay.Namespace]Namespace{"demo": {Class: shard.Region, Home: "r"}}
	p, err := newPlan(members, groupsOf(spaces, 1), spaces)
	if err != nil {
		t.Fatal(err)
	}
	local := newLocal("a", nothing{}, p, 1<<20, 10)
	run := newRunner(nil, noDisk{}, alone{}, local, &inbox{signal: local.queue.signal}, slog.New(slog.DiscardHandler))
	d := &shard.Descriptor{Shard: 1, Class: shard.Region, Members: []shard.Member{{Number: 1, Node: "a", Role: shard.Voter}}}
	r := func(n shard.ID) shard.Replica { return shard.Replica{Shard: n, Number: 1} }
	for i, step := range []struct {
		e    shard.Event
		want int32
	}{
		{shard.Event{Replica: r(1)}, 1},
		{shard.Event{Replica: r(1), Descriptor: d}, 1},
		{shard.Event{Replica: r(2), Descriptor: d}, 2},
		{shard.Event{Replica: r(1), Descriptor: d, Leader: 1}, 1},
		{shard.Event{Replica: r(1), Descriptor: d, Leader: 1, Term: 2}, 1},
		{shard.Event{Replica: r(2), Removed: true}, 0},
		{shard.Event{Replica: r(1), Descriptor: d}, 1},
		{shard.Event{Replica: r(1), Descriptor: d, Stopped: true}, 0},
	} {
		if run.event(context.Background(), &step.e); local.leaderless.Load() != step.want {
			t.Fatalf("event %d: %d know no leader; want %d", i, local.leaderless.Load(), step.want)
		}
	}
}
