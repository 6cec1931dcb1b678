package main

import (
	"github.com/spf13/cobra"
)

func newConfigCheck(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Say what is wrong with a configuration; exit code 0 if nothing is",
		Long: `Say what is wrong with the configuration of serve edge: keys that are not known, values that
cannot be used, files that cannot be read. Nothing is started.`,
		Args: cobra.NoArgs,
	}
	s := newSettings(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		c, set, err := s.loadEdge(a)
		if err != nil {
			return err
		}
		if err := check(&c, set); err != nil {
			return err
		}
		if _, err := newMaterial(&c, newLog(a.err, c.Log)); err != nil {
			return err
		}
		l := newLines(a.out)
		if err := l.text("ok"); err != nil {
			return err
		}
		return l.flush()
	}
	return cmd
}
