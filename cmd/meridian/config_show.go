package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfigShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print each setting, its value and where it comes from",
		Args: cobra.NoArgs,
	}
	s := newSettings(cmd)
	kind := kindFlag(cmd)
	output := outputFlag(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		_, set, err := s.loadKind(a, *kind)
		if err != nil {
			return err
		}
		if *output == jsonOut {
			l := newLines(a.out)
			for _, line := range set.Lines() {
				if err := l.json(line); err != nil {
					return err
				}
			}
			return l.flush()
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, line := range set.Lines() {
			fmt.Fprintf(w, "%s\t%s\t%s\n", line.Key, line.Value, line.From)
		}
		return w.Flush()
	}
	return cmd
}
