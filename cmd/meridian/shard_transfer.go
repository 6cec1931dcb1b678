package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
)

func newShardTransfer(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "transfer SHARD NODE", Short: "Hand a shard's leadership to the voter on another node", Args: cobra.ExactArgs(2),
		Long: `Hand a shard's leadership to the voter on another node. The wish lasts: while that node is
away another one leads, and it leads again once it has been well for 10 s, or five minutes from
another region. It ends with another transfer, or when that node's member is replaced.`,
		Example: `  meridian shard transfer s1 node-2`,
	}
	output := outputFlag(cmd.Flags())
	n := a.nodesFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseShard(args[0])
		if err != nil {
			return err
		}
		if err := n.open(); err != nil {
			return err
		}
		// Every node is asked: only the leader's does it, and others refuse.
		_, err = ask(cmd.Context(), n, func(ctx context.Context, c *nodeapi.Client) (nodeapi.Shard, error) {
			return c.Transfer(ctx, id, shard.Node(args[1]))
		})
		if errors.Is(err, nodeapi.ErrNotLeader) {
			err = fmt.Errorf("%v has no leader among the nodes that answer: %w", id, err)
		}
		if err != nil {
			return err
		}
		v, err := n.view(cmd.Context(), id)
		if err != nil {
			return err
		}
		return a.showShard(&v, *output)
	}
	return cmd
}
