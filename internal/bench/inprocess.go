package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/bench/meter"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// manySubscriptions is how many a hub row opens.
const manySubscriptions = 100_000

// hubRow measures a hub with many subscriptions, spread over so many channels, at rest in this
// process.
func hubRow(name string, channels int) row {
	return row{
		name: name, group: "idle",
		about:  fmt.Sprintf("%d subscriptions on %d channels of a hub, in process", manySubscriptions, channels),
		bounds: []bound{{of: addedGo, most: 0.5}},
		subject: func(ctx context.Context, b *bench) (s sample, err error) {
			n := manySubscriptions
			if b.cfg.Sessions > 0 {
				n = min(n, 10*b.cfg.Sessions)
			}
			return hubRun(ctx, n, min(channels, n))
		},
	}
}

func hubRun(ctx context.Context, n, channels int) (s sample, err error) {
	home, err := core.NewBare(core.BareConfig{Namespaces: map[relay.Namespace]channel.Policy{"bench": {}}})
	if err != nil {
		return nil, err
	}
	h := hub.New(hub.Config{Upstream: home})
	// The home outlives the hub, which stands on it.
	stopHome := running(home.Run)
	stopHub := running(h.Run)
	defer func() { err = errors.Join(err, stopHub(), stopHome()) }()

	r := &reader{hub: h}
	defer r.close()
	if err := r.open(ctx, 1, channels); err != nil {
		return nil, err
	}
	before, err := meter.Take(nil, true)
	if err != nil {
		return nil, err
	}
	if err := r.open(ctx, n-1, channels); err != nil {
		return nil, err
	}
	after, err := meter.Take(nil, true)
	if err != nil {
		return nil, err
	}
	return sample{
		addedGo:  float64(after.Goroutines - before.Goroutines),
		subBytes: float64(after.Heap+after.Stacks-before.Heap-before.Stacks) / float64(n-1),
	}, nil
}

// running runs a part until the function that it returns is called.
func running(part func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	return func() error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
}

// A reader holds subscriptions.
type reader struct {
	hub  *hub.Hub
	subs []relay.Subscription
}

// open opens n more, in turn over the channels, and waits until each has its OK.
func (r *reader) open(ctx context.Context, n, channels int) error {
	var woken atomic.Int64
	first := len(r.subs)
	for i := range n {
		r.subs = append(r.subs, r.hub.Subscribe(relay.SubscribeRequest{
			Channel: relay.Channel(fmt.Sprintf("bench:%d", (first+i)%channels)), Subject: "bench",
		}, func() { woken.Add(1) }))
	}
	for deadline := time.Now().Add(time.Minute); woken.Load() < int64(n); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d subscriptions answered within a minute", woken.Load(), n)
		}
		if err := pause(ctx, touchWait); err != nil {
			return err
		}
	}
	for _, s := range r.subs[first:] {
		frames := s.Next(nil, 1<<10)
		if len(frames) != 1 || frames[0].Kind != relay.KindOK {
			return fmt.Errorf("first frames %+v; want an OK", frames)
		}
	}
	return nil
}

func (r *reader) close() {
	for _, s := range r.subs {
		s.Close()
	}
}
