package core

import (
	"context"
	"sync"
	"testing"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// open runs a Bare until the test ends.
func open(t *testing.T, cfg BareConfig) *Bare {
	t.Helper()
	b, err := NewBare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return b
}

func TestSeam(t *testing.T) {
	relaytest.TestUpstream(t, func(t *testing.T) relay.Upstream {
		return open(t, BareConfig{Namespaces: map[relay.Namespace]channel.Policy{
			relaytest.Plain: {}, relaytest.Short: {Count: 10},
		}})
	})
}
