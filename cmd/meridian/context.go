package main

import (
	"github.com/spf13/cobra"
)

func newContext(a *app) *cobra.Command {
	return group(a, "context", "Where pub, sub and others connect",
		newContextAdd(a), newContextList(a), newContextSelect(a), newContextShow(a), newContextRemove(a))
}
