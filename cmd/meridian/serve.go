package main

import (
	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	return group(a, "serve", "Run a server", newServeEdge(a), newServeCore(a))
}
