package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
)

func newConfig(a *app) *cobra.Command {
	return group(a, "config", "Check and show what `serve edge` and `serve core` are configured to do",
		newConfigCheck(a), newConfigShow(a))
}

// loadEdge loads the configuration of serve edge.
func (s *settings) loadEdge(a *app) (config.Edge, *config.Settings, error) {
	c := config.DefaultEdge()
	set, err := s.fill(a, &c)
	return c, set, err
}

// loadCore loads the configuration of serve core.
func (s *settings) loadCore(a *app) (config.Core, *config.Settings, error) {
	c := config.DefaultCore()
	set, err := s.fill(a, &c)
	return c, set, err
}

// kindFlag adds --for: whose configuration it is.
func kindFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("for", "edge", "whose configuration it is: edge or core")
}

// loadKind loads the configuration of serve edge or serve core.
func (s *settings) loadKind(a *app, kind string) (checker, *config.Settings, error) {
	switch kind {
	case "edge":
		e, set, err := s.loadEdge(a)
		return &e, set, err
	case "core":
		c, set, err := s.loadCore(a)
		return &c, set, err
	}
	return nil, nil, usagef("--for %q: write edge or core", kind)
}
