package store

import (
	"context"
	"sync/atomic"
	"time"
)

// space watches how full the disk is.
type space struct {
	readOnly atomic.Bool
	ballast  atomic.Bool // it is there
}

// watchSpace looks at the disk now and then.
func (s *Store) watchSpace(ctx context.Context) {
	t := time.NewTicker(s.cfg.Watch)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.failed:
			return
		case <-t.C:
		}
	}
}

func (s *Store) diskFull() {}
