package hub_test

import (
	"context"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A hub over a home keeps what the home promises, as does a hub over a hub, also where rings
// hold next to nothing.
func TestConformance(t *testing.T) {
	small := hub.Config{RingBytes: 2 << 10, FeedBytes: 2 << 10, Linger: -1}
	for _, c := range []struct {
		name  string
		chain []hub.Config
	}{
		{"hub", []hub.Config{{}}},
		{"small rings", []hub.Config{small}},
		{"hub on small rings", []hub.Config{small, {}}},
		{"small rings on hub", []hub.Config{{}, small}},
		{"one worker, no room", []hub.Config{{Workers: 1, Budget: 1, Feeds: 2, TopicFeeds: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			relaytest.TestUpstream(t, func(t *testing.T) relay.Upstream { return open(t, c.chain) })
		})
	}
}

func open(t *testing.T, chain []hub.Config) relay.Upstream {
	bare, err := core.NewBare(core.BareConfig{Namespaces: map[relay.Namespace]channel.Policy{
		relaytest.Plain: {Age: time.Hour},
		relaytest.Short: {Age: time.Hour, Count: 10},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var up relay.Upstream = bare
	runs := []func(context.Context) error{bare.Run}
	for _, c := range chain {
		c.Upstream = up
		h := hub.New(c)
		up = h
		runs = append(runs, h.Run)
	}
	for _, run := range runs {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	return up
}
