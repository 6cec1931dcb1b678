package bench

import (
	"context"
	"fmt"
	"sync"

	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/bench/meter"
)

// clients is the child that holds the sessions.
type clients struct {
	load    *load.Load
	sources sync.WaitGroup
	quiet   context.CancelFunc

	mu  sync.Mutex
	err error // the first of a source
}

func (c *clients) handle(ctx context.Context, r request) (a answer, err error) {
	if r.Do == "load" {
		c.load, err = load.New(*r.Load)
		return a, err
	}
	if c.load == nil {
		return a, fmt.Errorf("%s before load", r.Do)
	}
	switch r.Do {
	case "dial":
		err = c.load.Dial(r.Sessions)
	case "subscribe":
		err = c.load.Subscribe(r.Channels, r.Own)
	case "pause":
		c.load.Pause(r.On)
	case "publish":
		c.publish(ctx, *r.Source)
	case "quiet":
		c.stop()
	case "reset":
		c.load.Reset()
	case "count":
		count := c.load.Count()
		a.Count = &count
	case "usage":
		var u meter.Usage
		u, err = meter.Take(nil, r.Collect)
		a.Usage = &u
	default:
		return a, errUnknown
	}
	if err == nil {
		err = c.failed()
	}
	return a, err
}

// publish starts a source; quiet stops all.
func (c *clients) publish(ctx context.Context, src load.Source) {
	stop := c.quiet
	ctx, cancel := context.WithCancel(ctx)
	c.quiet = func() {
		cancel()
		if stop != nil {
			stop()
		}
	}
	c.sources.Go(func() {
		if err := c.load.Publish(ctx, src); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.err == nil {
				c.err = err
			}
		}
	})
}

func (c *clients) stop() {
	if c.quiet != nil {
		c.quiet()
		c.quiet = nil
	}
	c.sources.Wait()
}

func (c *clients) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.load.Err()
}

func (c *clients) close() {
	if c.load != nil {
		c.stop()
		c.load.Close()
	}
}
