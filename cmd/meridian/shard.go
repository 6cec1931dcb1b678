package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/shard"
)

func newShard(a *app) *cobra.Command {
	g := group(a, "shard", "Look at shards, and move their leaders and replicas",
		newShardGet(a), newShardList(a), newShardTransfer(a), newShardReplace(a))
	g.Aliases = []string{"shards"}
	return g
}

// parseShard reads a shard's name.
func parseShard(s string) (shard.ID, error) {
	id, err := shard.ParseID(s)
	if err != nil {
		return 0, usageError{err}
	}
	return id, nil
}
