package core

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// begin makes the shards that the list gives this node. It waits until every node of the list was
// met: shards know the stores of their members from their beginning, so that a disk that was lost
// and replaced never counts for the one it replaced.
func (n *Node) begin(ctx context.Context) error {
	stores, err := n.meet(ctx)
	if err != nil {
		return err
	}
	plan := n.first // that the others have agreed to, whatever was reloaded since
	n.inbox.ask(func(h *shard.Host) {
		have := h.Shards()
		for i := range plan.shards {
			s := &plan.shards[i]
			if !slices.Contains(s.nodes(), n.cfg.Name) || slices.Contains(have, s.id) {
				continue
			}
			if err := h.Create(plan.genesis(s, stores)); err != nil {
				n.runner.fail(fmt.Errorf("begin: %w", err))
				return
			}
			n.runner.creating++
		}
		n.runner.created = func() error {
			n.log.Info("the fleet has begun", "fleet", n.cfg.Fleet, "shards", len(h.Shards()))
			return n.notes.change(func(r *record) { r.Begun = true })
		}
	}, nil)
	return nil
}

// meet waits until every node of the list was met, and returns their stores.
func (n *Node) meet(ctx context.Context) (map[shard.Node]shard.StoreID, error) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	tell := time.NewTicker(5 * time.Second)
	defer tell.Stop()
	for {
		stores := map[shard.Node]shard.StoreID{n.cfg.Name: n.store.Identity().Store}
		var missing []shard.Node
		for _, m := range n.cfg.Nodes {
			if m.Name == n.cfg.Name {
				continue
			}
			if id, ok := n.notes.store(m.Name); ok {
				stores[m.Name] = id
			} else {
				missing = append(missing, m.Name)
			}
		}
		if len(missing) == 0 {
			return stores, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tell.C:
			n.log.Info("a fleet begins when all its nodes have met", "missing", missing)
		case <-look.C:
		}
	}
}
