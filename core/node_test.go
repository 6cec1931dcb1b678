package core

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// logTo shows what nodes say when a test fails.
func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// single is the configuration of a node that is alone.
func single(t *testing.T) NodeConfig {
	return NodeConfig{
		Name: "n1", Fleet: "test", Dir: t.TempDir(), Bootstrap: true, Shards: 3,
		Nodes: []Member{{Name: "n1", Address: "127.0.0.1:1", Region: "here", Zone: "a"}},
		Namespaces: map[relay.Namespace]Namespace{
			relaytest.Plain: {}, relaytest.Short: {Policy: channel.Policy{Count: 10}},
		},
		Log: logTo(t),
	}
}

// start runs a node until the test ends, or stop is called.
func start(t *testing.T, c NodeConfig) (n *Node, stop func()) {
	t.Helper()
	n, err := NewNode(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return n, stop
}

// await waits until all shards that the plan gives a node have a leader.
func await(t *testing.T, n *Node) {
	t.Helper()
	late := time.Now().Add(20 * time.Second)
	for {
		led, all := 0, 0
		for _, s := range n.local.plan.Load().shards {
			all++
			if r := n.local.replica(s.id); r != nil {
				_, ok := r.leader()
				if r.class() != shard.Ephemeral {
					v := r.read() // what the first leader says may be on its way
					ok = ok && v.Err() == nil
					v.Close()
				} else if r.leads() {
					ok = ok && r.memory.Load() != nil
				}
				if ok {
					led++
				}
			}
		}
		if led == all {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%d of %d shards have a leader", led, all)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestNodeSeam(t *testing.T) {
	c := single(t)
	n, _ := start(t, c)
	await(t, n)
	t.Run("local", func(t *testing.T) {
		relaytest.TestUpstream(t, func(t *testing.T) relay.Upstream { return n.Local() })
	})
	t.Run("reached", func(t *testing.T) {
		relaytest.TestUpstream(t, func(t *testing.T) relay.Upstream { return n.Upstream() })
	})
}
