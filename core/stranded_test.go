package core

import (
	"context"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

func TestStrandedIn(t *testing.T) {
	for name, c := range map[string]struct {
		others, heard, replicas, leaderless int
		want                                bool
	}{
		"well":                              {2, 2, 6, 0, false},
		"the only node":                     {0, 0, 6, 6, false},
		"alone":                             {2, 0, 6, 6, true},
		"alone, without replicas":           {2, 0, 0, 0, true},
		"its leaders rest still":            {2, 0, 6, 0, true},
		"without replicas":                  {2, 1, 0, 0, false},
		"one end of a bridge":               {2, 1, 6, 2, true},
		"one shard of many has no majority": {2, 2, 100, 1, false},
		"all shards have no majority":       {4, 1, 100, 100, true},
	} {
		if got := strandedIn(c.others, c.heard, c.replicas, c.leaderless); got != "" != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A node that the others cannot be reached from asks its edges to go; where they can go nowhere
// else, they read what stands here. When another node is back, they are welcome at once.
func TestStrandedNode(t *testing.T) {
	t.Parallel() // it waits more than it works
	a := newAuthority(t)
	list := trioOf(t, a)
	nodes, stops := startAll(t, list)
	for i := range 5 {
		publish(t, nodes[0].Upstream(), numbered("test:stranded", i+1))
	}
	address := list[0].Nodes[0].Address
	dialer, err := transport.NewDialer(transport.DialerConfig{TLS: a.conf(t, "edge/e1"), AnyHost: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dialer.Close()
	connect := func() (*link.Link, time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		s, err := dialer.QUIC(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		l, err := link.Connect(ctx, link.Config{Session: s, Default: link.Options{Window: -1}})
		if err != nil {
			t.Fatal(err)
		}
		return l, time.Since(begin)
	}
	first, took := connect()
	if took >= lastResort {
		t.Errorf("a node that is well lets edges wait: %v", took)
	}
	stops[1]()
	stops[2]()
	wait := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: not within 30 s", what)
		}
	}
	wait("the edge is asked to go", first.Leaving())
	second, took := connect()
	if took < lastResort {
		t.Errorf("served after %v, before another node could be", took)
	}
	wait("the old link is closed", first.Done())
	r := relaytest.Subscribe(t, second, relay.SubscribeRequest{Channel: "test:stranded", From: relay.Start{Kind: relay.StartFirst}})
	for n := 0; n < 5; { // and a Status: there is no leader
		if r.Frame().Kind == relay.KindMessage {
			n++
		}
	}
	r.Close()
	second.Close(relay.Done, "")
	list[1].Bootstrap, list[1].PacketConn = false, listen(t, list[1].Nodes[1].Address)
	start(t, list[1])
	for late := time.Now().Add(30 * time.Second); ; {
		l, took := connect()
		l.Close(relay.Done, "")
		if took < lastResort {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("edges wait though the node has others: %v", took)
		}
	}
}
