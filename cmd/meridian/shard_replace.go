package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
)

// replaceEvery is how often the nodes are asked how far they are.
const replaceEvery = time.Second

func newShardReplace(a *app) *cobra.Command {
	var wait bool
	var within time.Duration
	cmd := &cobra.Command{
		Use: "replace NODE", Short: "Give a node that has a new disk its replicas back", Args: cobra.ExactArgs(1),
		Long: `Give a node that has a new disk its replicas back.

A store that was wiped, or is not the one that a node had, never comes back as what it was: in each
shard it becomes a learner under a new number, catches up, is promoted, and the old member is
removed. Start the node with its empty folder first. Repeated, the command goes on where it was.`,
		Example: `  meridian shard replace node-2`,
	}
	output := outputFlag(cmd.Flags())
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until all is done")
	cmd.Flags().DurationVar(&within, "timeout", 0, "give up waiting after so long; the nodes go on. 0: never")
	n := a.nodesFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := n.open(); err != nil {
			return err
		}
		ctx := cmd.Context()
		if within > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, within, fmt.Errorf("not done within %v; the nodes go on", within))
			defer cancel()
		}
		last := ""
		for {
			list, err := n.replace(ctx, shard.Node(args[0]))
			if err != nil {
				return err
			}
			left, failed := 0, 0
			for _, r := range list {
				switch r.Step {
				case nodeapi.StepFailed:
					failed++
				case nodeapi.StepDone:
				default:
					left++
				}
			}
			if left == 0 || !wait {
				return a.showReplacements(list, failed, *output)
			}
			if now := fmt.Sprintf("%d of %d shards to go", left, len(list)); now != last {
				fmt.Fprintln(a.err, now)
				last = now
			}
			t := time.NewTimer(replaceEvery)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			}
		}
	}
	return cmd
}

// replace asks every node, each of which does it for the shards that it leads. A shard that no
// leader tells of is waiting.
func (n *nodes) replace(ctx context.Context, node shard.Node) ([]nodeapi.Replacement, error) {
	answers, err := ask(ctx, n, func(ctx context.Context, c *nodeapi.Client) ([]nodeapi.Replacement, error) {
		return c.Replace(ctx, node)
	})
	if err != nil {
		return nil, err
	}
	views, err := n.views(ctx)
	if err != nil {
		return nil, err
	}
	by := make(map[string]nodeapi.Replacement)
	for _, answer := range answers {
		if answer == nil {
			continue
		}
		for _, r := range *answer {
			if old, ok := by[r.Shard]; !ok || weight(r) > weight(old) {
				by[r.Shard] = r
			}
		}
	}
	for i := range views {
		v := &views[i]
		on := func(m nodeapi.Member) bool { return m.Node == node }
		if _, ok := by[v.Shard]; !ok && slices.ContainsFunc(v.members(), on) {
			by[v.Shard] = nodeapi.Replacement{Shard: v.Shard, Step: "waiting"}
		}
	}
	list := make([]nodeapi.Replacement, 0, len(by))
	for _, r := range by {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b nodeapi.Replacement) int {
		i, _ := shard.ParseID(a.Shard)
		j, _ := shard.ParseID(b.Shard)
		return cmp.Compare(i, j)
	})
	return list, nil
}

// weight ranks what two nodes say of a shard, who led before and who leads now: what is under way
// counts most, and the failure of one that leads no longer least.
func weight(r nodeapi.Replacement) int {
	switch r.Step {
	case nodeapi.StepFailed:
		return 0
	case nodeapi.StepDone:
		return 1
	}
	return 2
}

func (a *app) showReplacements(list []nodeapi.Replacement, failed int, f format) error {
	t := newTable(a.out, f, "SHARD", "OLD", "NEW", "STEP", "ERROR")
	for i := range list {
		r := &list[i]
		t.row(r, r.Shard, orDash(nonZero(r.Old)), orDash(nonZero(r.New)), r.Step, r.Error)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d shards failed; repeat the command: %w", failed, len(list), nodeapi.ErrConflict)
	}
	return nil
}

func nonZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
