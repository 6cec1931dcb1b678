package core

import (
	"context"
	"fmt"
	"strings"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/internal/ops"
)

// serveOps serves the listener for operators until ctx ends.
func (n *Node) serveOps(ctx context.Context) error {
	return ops.Serve(ctx, ops.Config{
		Listener: n.cfg.Ops, Ready: n.notReady, Metrics: n.metrics(), API: nodeapi.NewHandler(n.cfg.Name, n),
	})
}

// notReady returns why edges should use other nodes; nil: they need not.
func (n *Node) notReady() error {
	switch {
	case n.draining.Load():
		return fmt.Errorf("node %q is draining", n.cfg.Name)
	case n.slowLately():
		return fmt.Errorf("node %q: a sync of its disk took seconds lately, so it leads nothing for now; see what else uses the disk, or replace it", n.cfg.Name)
	case !n.notes.begun():
		return fmt.Errorf("node %q waits for the others, to begin the fleet; start those of the list that do not run", n.cfg.Name)
	}
	var without []string
	n.local.each(func(r *replica) {
		if _, ok := r.leader(); !ok {
			without = append(without, r.id.Shard.String())
		}
	})
	if len(without) > 0 {
		return fmt.Errorf("node %q: %s", n.cfg.Name, leaderless(without))
	}
	return nil
}

// leaderless says that shards have no leader that is known here, and what to do.
func leaderless(shards []string) string {
	const most = 8
	count, names := "1 shard knows", strings.Join(shards[:min(len(shards), most)], ", ")
	if len(shards) > 1 {
		count = fmt.Sprintf("%d shards know", len(shards))
	}
	if more := len(shards) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s no leader: %s; see with `meridian shard list` that a majority of their members runs and is reached from here", count, names)
}
