package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const (
	// reachAfter is how long an address goes alone before the next one is tried too ("Happy
	// Eyeballs", RFC 8305, section 8).
	reachAfter = 250 * time.Millisecond
	// reachWithin is the longest that one address is tried.
	reachWithin = 2 * time.Second
)

// Reach opens a link to the first of several addresses that answers: they are tried in their
// order, each as soon as the one before it failed or was silent for 250 ms, and for 2 s at most,
// so that addresses of processes that are gone cost a moment and not a timeout each. Links that
// are ready too late are closed. The error says what became of each address.
func Reach(ctx context.Context, addresses []string, connect func(ctx context.Context, address string) (*Link, error)) (*Link, error) {
	if len(addresses) == 0 {
		return nil, errors.New("no address to connect to")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		link *Link
		err  error
	}
	results := make(chan result)
	next, running := 0, 0
	start := func() {
		address := addresses[next]
		next++
		running++
		go func() {
			within, stop := context.WithTimeoutCause(ctx, reachWithin, fmt.Errorf("no answer within %v", reachWithin))
			defer stop()
			l, err := connect(within, address)
			if err != nil {
				err = fmt.Errorf("%s: %w", address, withCause(within, err))
			}
			select {
			case results <- result{l, err}:
			case <-ctx.Done():
				if err == nil {
					l.Close(relay.Cancelled, "another address answered first")
				}
			}
		}()
	}
	timer := time.NewTimer(reachAfter)
	defer timer.Stop()
	start()
	var failed []error
	for {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.link, nil
			}
			failed = append(failed, r.err)
			if next < len(addresses) {
				start()
				timer.Reset(reachAfter)
			} else if running == 0 {
				return nil, errors.Join(failed...)
			}
		case <-timer.C:
			if next < len(addresses) {
				start()
				timer.Reset(reachAfter)
			}
		case <-ctx.Done():
			return nil, errors.Join(append(failed, context.Cause(ctx))...)
		}
	}
}

// withCause adds why ctx ended, where err does not say.
func withCause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(err, why) {
		return fmt.Errorf("%w (%w)", err, why)
	}
	return err
}
