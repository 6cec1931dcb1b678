package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newShardList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the shards, as all nodes together tell them", Args: cobra.NoArgs,
		Long: `List the shards, as all nodes together tell them.

LAG is how many entries of the log the member that is furthest behind has not stored, as the leader
knows; - where no leader answers. Learners have a + before their name.`,
	}
	output := outputFlag(cmd.Flags())
	n := a.nodesFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := n.open(); err != nil {
			return err
		}
		views, err := n.views(cmd.Context())
		if err != nil {
			return err
		}
		t := newTable(a.out, *output, "SHARD", "CLASS", "LEADER", "TERM", "COMMIT", "LAG", "MEMBERS", "FAULTS")
		for i := range views {
			v := &views[i]
			t.row(v, v.Shard, v.Class, dashed(string(v.Leader)), number(v.Term), number(v.Commit),
				orDash(v.Lag), summary(v.members()), strings.Join(v.Faults, "; "))
		}
		return t.flush()
	}
	return cmd
}
