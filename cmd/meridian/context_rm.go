package main

import (
	"github.com/spf13/cobra"
)

func newContextRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Remove a context", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			contexts, err := a.contexts()
			if err != nil {
				return err
			}
			return contexts.Remove(args[0])
		},
	}
}
