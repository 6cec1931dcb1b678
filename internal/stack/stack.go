// Package stack runs the parts of a process in the order in which they stand on one another.
package stack

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A Part runs until its context ends. The process cannot do without it: one that returns before
// has failed.
type Part struct {
	Name string // for errors
	Run  func(context.Context) error
}

// Run runs parts, each of which stands on those before it, until ctx ends or one of them does.
// Then, unless one failed, drain takes the process out of service, and all stop from the last to
// the first: none ever sees the one under it gone. It returns when all have ended, with the errors
// of those that failed; what a part returns after it was stopped is no error.
func Run(ctx context.Context, drain func(), parts ...Part) error {
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
			err := p.Run(own)
			if own.Err() == nil {
				if err == nil {
					err = errors.New("ended by itself")
				}
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
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
