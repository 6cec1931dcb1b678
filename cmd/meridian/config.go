package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
)

func newConfig(a *app) *cobra.Command {
	return group(a, "config", "Check and show what `serve edge` is configured to do",
		newConfigCheck(a), newConfigShow(a))
}

// loadEdge loads the configuration of serve edge.
func (s *settings) loadEdge(a *app) (config.Edge, *config.Settings, error) {
	e := config.DefaultEdge()
	src, err := s.sources(a)
	if err != nil {
		return e, nil, err
	}
	set, err := config.Load(&e, src)
	if err != nil {
		return e, nil, blame(err)
	}
	return e, set, nil
}
