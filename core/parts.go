package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A part runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// runParts runs parts, each of which stands on those before it, until ctx ends or one of them
// does. Then, unless one failed, drain takes the node out of service, and all stop from the last
// to the first: none ever sees the one under it gone.
func runParts(ctx context.Context, drain func(), parts ...part) error {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	ended := make(chan struct{}, len(parts))
	stops := make([]func(), len(parts))
	for i, p := range parts {
		// Not ctx's end but ours stops a part.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		gone := make(chan struct{})
		stops[i] = func() {
			cancel()
			<-gone
		}
		group.Go(func() {
			defer close(gone)
			err := p.run(own)
			if own.Err() == nil {
				if err == nil {
					err = errors.New("ended by itself")
				}
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
				mu.Unlock()
			}
			ended <- struct{}{}
		})
	}
	select {
	case <-ctx.Done():
		drain()
	case <-ended:
	}
	for i := len(parts) - 1; i >= 0; i-- {
		stops[i]()
	}
	group.Wait()
	return errors.Join(errs...)
}
