package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/internal/fleet"
)

func newServeEdge(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Run an edge, with a home in memory or over links to nodes",
		Long: `Run an edge. Its settings come from --config, the environment (MERIDIAN_…) and flags; of one that
is given twice the later counts. ` + "`meridian config show`" + ` prints all of them.

It prints one line "ready {json}" on standard output. SIGTERM drains it, SIGHUP loads certificates,
token keys and limits anew.`,
		Args: cobra.NoArgs,
	}
	s := newServeSettings(cmd, "shown to clients; empty: the host's name", "UDP and TCP for clients", "health, metrics, profiles; empty: none")
	s.flag("region", "", "where this edge runs")
	s.flag("http", "", "plain HTTP and WebSocket, on loopback; empty: none")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, set, err := s.loadEdge(a)
		if err != nil {
			return err
		}
		if err := check(&c, set); err != nil {
			return err
		}
		return a.serveEdge(cmd.Context(), c, set, s)
	}
	return cmd
}

// serveEdge runs an edge until ctx ends.
func (a *app) serveEdge(ctx context.Context, c config.Edge, set *config.Settings, s *settings) error {
	log := newLog(a.err, c.Log)
	m, err := newMaterial(&c, log)
	if err != nil {
		return err
	}
	listeners, err := fleet.Listen(c.Listen, c.HTTP, c.Ops)
	if err != nil {
		return err
	}
	process, peers, err := m.assemble(&c, listeners, log)
	if err != nil {
		listeners.Close()
		return err
	}
	ready := map[string]string{"name": c.Name, "region": c.Region, "listen": listeners.TCP.Addr().String()}
	if listeners.Plain != nil {
		ready["http"] = listeners.Plain.Addr().String()
	}
	if listeners.Ops != nil {
		ready["ops"] = listeners.Ops.Addr().String()
	}
	if peers != nil {
		ready["peers"] = peers.LocalAddr().String()
	}
	if err := a.ready(ready); err != nil {
		return err
	}
	return runReloading(ctx, process.Run, func(ctx context.Context) {
		set = a.reload(ctx, s, set, m, process, log)
	})
}

// reload puts what changed to use: all of it, or, on an error, nothing. It returns the settings
// now in force.
func (a *app) reload(ctx context.Context, s *settings, old *config.Settings, m *material, process *fleet.EdgeProcess, log *slog.Logger) *config.Settings {
	c, set, err := s.loadEdge(a)
	if err == nil {
		err = c.Check()
	}
	if err == nil {
		err = m.reload(&c)
	}
	if err == nil {
		limits := edgeLimits(c.Limits)
		err = process.Reload(edge.Reload{Limits: &limits, Certificates: m.certificates()})
	}
	if err == nil {
		if err := m.tokens.Reload(ctx); err != nil {
			log.Error("token keys not reloaded", "error", err)
		}
	}
	return reloaded(log, old, set, err, "limits", "tls", "peers.tls", "upstream.tls")
}

// hostName is an edge's name where it has none.
func hostName() (string, error) {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "", errors.Join(errors.New("name: is empty, and the host has no name either; set it"), err)
	}
	return name, nil
}
