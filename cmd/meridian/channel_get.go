package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/relay"
)

func newChannelGet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get CHANNEL", Short: "Show a channel as each of its replicas has it", Args: needsOneChannel,
		Long: `Show a channel as each of its replicas has it: a line for each node that answers. BEHIND is how many
messages of the newest epoch it has not applied.`,
	}
	output := outputFlag(cmd.Flags())
	n := a.nodesFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := relay.ParseChannel(args[0])
		if err != nil {
			return usageError{err}
		}
		if err := n.open(); err != nil {
			return err
		}
		answers, err := ask(cmd.Context(), n, func(ctx context.Context, c *nodeapi.Client) (nodeapi.Channel, error) {
			return c.Channel(ctx, name)
		})
		if err != nil {
			return err
		}
		var best *nodeapi.Channel
		for _, c := range answers {
			if c != nil && (best == nil || better(c, best)) {
				best = c
			}
		}
		t := newTable(a.out, *output, "CHANNEL", "NODE", "SHARD", "STATE", "POSITION", "BEHIND", "FIRST", "KEPT", "BYTES", "USED")
		for _, c := range answers {
			if c == nil {
				continue
			}
			t.row(c, string(c.Channel), string(c.Node), c.Shard, c.State, c.Position.String(), behind(c, best),
				c.First.String(), number(c.Messages), number(c.Bytes), dashed(c.Used))
		}
		return t.flush()
	}
	return cmd
}

// behind says how many messages c has less than best.
func behind(c, best *nodeapi.Channel) string {
	switch {
	case c.Position.Epoch == best.Position.Epoch && c.Position.Seq <= best.Position.Seq:
		return number(best.Position.Seq - c.Position.Seq)
	case c.Position.Epoch < best.Position.Epoch:
		return "an epoch"
	}
	return "0"
}
