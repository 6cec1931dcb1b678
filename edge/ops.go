package edge

import (
	"context"
	"fmt"

	"github.com/meridian-relay/meridian/internal/ops"
)

// serveOps serves the listener for operators until ctx ends.
func (e *Edge) serveOps(ctx context.Context) error {
	return ops.Serve(ctx, ops.Config{Listener: e.cfg.Ops, Ready: e.notReady, Metrics: e.count.handler()})
}

// notReady returns why the edge should get no new sessions; nil: it should.
func (e *Edge) notReady() error {
	if e.draining.Load() {
		return fmt.Errorf("edge %q is draining", e.cfg.Name)
	}
	if e.cfg.Ready != nil {
		return e.cfg.Ready()
	}
	return nil
}
