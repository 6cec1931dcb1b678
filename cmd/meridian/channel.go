package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
)

func newChannel(a *app) *cobra.Command {
	g := group(a, "channel", "Look at channels as the nodes keep them",
		newChannelGet(a), newChannelList(a))
	g.Aliases = []string{"channels"}
	return g
}

// better reports whether a knows a channel better than b: its replica leads, or is further.
func better(a, b *nodeapi.Channel) bool {
	if (a.State == leading) != (b.State == leading) {
		return a.State == leading
	}
	return b.Position.Before(a.Position)
}

var channelColumns = []string{"CHANNEL", "SHARD", "CLASS", "LEADER", "POSITION", "KEPT", "BYTES", "USED"}

func channelCells(c *nodeapi.Channel) []string {
	return []string{
		string(c.Channel), c.Shard, c.Class, dashed(string(c.Leader)), c.Position.String(),
		number(c.Messages), number(c.Bytes), dashed(c.Used),
	}
}
