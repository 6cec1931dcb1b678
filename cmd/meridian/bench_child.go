package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/bench"
)

// newBenchChild returns what bench starts: a server, or its clients.
func newBenchChild(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "child ROLE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.Child(cmd.Context(), args[0], a.in, a.out)
		},
	}
}
