package main

import (
	"github.com/spf13/cobra"
)

func newContextList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List the contexts; * marks the selected one", Args: cobra.NoArgs,
	}
	output := outputFlag(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		contexts, err := a.contexts()
		if err != nil {
			return err
		}
		names, err := contexts.Names()
		if err != nil {
			return err
		}
		selected, err := contexts.Selected()
		if err != nil {
			return err
		}
		l := newLines(a.out)
		for _, name := range names {
			x, err := contexts.Get(name)
			if err != nil {
				return err
			}
			if *output == jsonOut {
				err = l.json(map[string]any{"name": name, "url": x.URL, "selected": name == selected})
			} else {
				mark := "  "
				if name == selected {
					mark = "* "
				}
				err = l.text(mark + name + "  " + x.URL)
			}
			if err != nil {
				return err
			}
		}
		return l.flush()
	}
	return cmd
}
