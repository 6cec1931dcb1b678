package main

import (
	"github.com/spf13/cobra"
)

func newContextSelect(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "select NAME", Short: "Select the context that commands use", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			contexts, err := a.contexts()
			if err != nil {
				return err
			}
			return contexts.Select(args[0])
		},
	}
}
