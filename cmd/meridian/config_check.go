package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
)

func newConfigCheck(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Say what is wrong with a configuration; exit code 0 if nothing is",
		Long: `Say what is wrong with the configuration of serve edge, or with --for core of serve core: keys that are not known, values that
cannot be used, files that cannot be read. Nothing is started.`,
		Args: cobra.NoArgs,
	}
	s := newSettings(cmd)
	kind := kindFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		c, set, err := s.loadKind(a, *kind)
		if err != nil {
			return err
		}
		if err := check(c, set); err != nil {
			return err
		}
		switch c := c.(type) {
		case *config.Edge:
			_, err = newMaterial(c, newLog(a.err, c.Log))
		case *config.Core:
			_, _, err = identity(c)
		}
		if err != nil {
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
