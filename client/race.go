package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// leastHeadStart is how long the carrier that is preferred goes alone.
const leastHeadStart = 500 * time.Millisecond

// headStart returns how long the first carrier goes alone: four round trips are enough to be
// connected, had nothing been lost.
func headStart(rtt time.Duration) time.Duration { return max(leastHeadStart, 4*rtt) }

// race tries carriers in order: the next one after the head start, or as soon as those before
// it have failed. The first session that is ready wins; the others are given up, and closed if
// they become ready after all.
func race(ctx context.Context, carriers []relay.Carrier, head time.Duration,
	dial func(context.Context, relay.Carrier) (relay.Session, error)) (relay.Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		carrier relay.Carrier
		session relay.Session
		err     error
	}
	results := make(chan result)
	running := 0
	start := func() {
		k := carriers[0]
		carriers = carriers[1:]
		running++
		go func() {
			s, err := dial(ctx, k)
			select {
			case results <- result{k, s, err}:
			case <-ctx.Done():
				if err == nil {
					s.Close(relay.Cancelled, "another carrier was faster")
				}
			}
		}()
	}
	timer := time.NewTimer(head)
	defer timer.Stop()
	var failed []error
	for {
		for len(carriers) > 0 && (running == 0 || head <= 0) {
			start()
		}
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.session, nil
			}
			failed = append(failed, fmt.Errorf("%s: %w", r.carrier, r.err))
			if running == 0 && len(carriers) == 0 {
				return nil, errors.Join(failed...)
			}
		case <-timer.C:
			head = 0
		case <-ctx.Done():
			return nil, errors.Join(append(failed, context.Cause(ctx))...)
		}
	}
}
