package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/internal/fleet"
)

// devContext is the context that dev writes and selects.
const devContext = "dev"

// devTokenLife is longer than a certificate is in use: with each new one, dev writes a new token.
const devTokenLife = 14 * 24 * time.Hour

func newDev(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a relay on this machine, for development",
		Long: `Run a relay on this machine: durable nodes, a hub and an edge in one process, with a
certificate and tokens of its own, on loopback only.

It writes and selects the context "dev", so that pub, sub, history, shard and channel need no flags in
another terminal, and prints one line "ready {json}" on standard output. Its plain HTTP address has two
example pages, a chat and live cursors. What is published is gone when it ends, unless --data names
a folder to keep it in.`,
		Args: cobra.NoArgs,
	}
	s := newSettings(cmd)
	s.flag("data", "", "folder to keep what is published; empty: a temporary one")
	s.flag("nodes", "", "nodes in this process, 1 to 9")
	s.flag("listen", "", "UDP and TCP for clients; port 0 takes a free one")
	s.flag("http", "", "plain HTTP and WebSocket; empty: none")
	s.flag("ops", "", "health, metrics, profiles; empty: none")
	s.flag("for", "", "end after so long, such as 10s; default: never")
	s.flag("grace", "", "how long a drain takes at most")
	s.flag("log.level", "log-level", "debug, info, warn or error")
	s.flag("log.format", "log-format", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := config.DefaultDev()
		if err := s.load(a, &c); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		if c.For > 0 {
			ctx, cancel = context.WithTimeout(ctx, c.For)
			defer cancel()
		}
		return a.dev(ctx, c)
	}
	return cmd
}

// dev runs a world until ctx ends.
func (a *app) dev(ctx context.Context, c config.Dev) error {
	log := newLog(a.err, c.Log)
	policies, err := policies(c.Namespaces)
	if err != nil {
		return err
	}
	classes, err := namespaces(c.Namespaces)
	if err != nil {
		return err
	}
	if c.Data == "" {
		if c.Data, err = os.MkdirTemp("", "meridian-dev-"); err != nil {
			return err
		}
		defer os.RemoveAll(c.Data)
	}
	contexts, err := a.contexts()
	if err != nil {
		return err
	}
	var world *fleet.World
	var pages http.Handler
	write := func() error { return a.writeDevContext(contexts, world) }
	world, err = fleet.NewWorld(fleet.Config{
		Listen: c.Listen, HTTP: c.HTTP, Ops: c.Ops, Namespaces: policies,
		Data: c.Data, Nodes: c.Nodes, Classes: classes,
		Limits: edgeLimits(c.Limits), Hub: hubConfig(c.Hub), Grace: c.Grace, Log: log,
		// A world knows its addresses, which pages are told, before it serves the first.
		Pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pages.ServeHTTP(w, r) }),
		Renewed: func() {
			if err := write(); err != nil {
				log.Error("context not written", "error", err)
			}
		},
	})
	if err != nil {
		return err
	}
	if pages, err = devPages(world); err != nil {
		world.Close()
		return err
	}
	if err := write(); err != nil {
		world.Close()
		return err
	}
	if err := contexts.Select(devContext); err != nil {
		world.Close()
		return err
	}
	if err := a.announce(world); err != nil {
		world.Close()
		return err
	}
	return world.Run(ctx)
}

// writeDevContext writes how to reach world.
func (a *app) writeDevContext(contexts *config.Contexts, world *fleet.World) error {
	token, err := world.Token("dev", devTokenLife, nil)
	if err != nil {
		return err
	}
	return contexts.Put(config.Context{
		Name: devContext, URL: world.URLs().Relay, Token: token,
		CertHashes: certHashes(world),
		Signing:    hex.EncodeToString(world.Secret()),
		Nodes:      world.URLs().Nodes,
	})
}

// announce prints the line of ready, and what a person wants to know.
func (a *app) announce(world *fleet.World) error {
	urls, hashes := world.URLs(), certHashes(world)
	err := a.ready(struct {
		URL     string            `json:"url"`
		HTTP    string            `json:"http,omitempty"`
		Ops     string            `json:"ops,omitempty"`
		Hashes  map[string]string `json:"cert_hashes"` // SHA-256, hexadecimal
		Context string            `json:"context"`
		PID     int               `json:"pid"`
	}{
		urls.Relay, urls.HTTP, urls.Ops,
		map[string]string{"now": hashes[0], "next": hashes[1]},
		devContext, os.Getpid(),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, `
Meridian runs at %[1]s. In another terminal:

  %[2]s sub demo:greetings
  %[2]s pub demo:greetings hello

`, urls.Relay, os.Args[0]) // as it was called: after make run it is on nobody's PATH
	if urls.HTTP != "" {
		fmt.Fprintf(a.err, `Or open one of these in two browser windows:

  %[1]s/chat/      a chat with history
  %[1]s/cursors/   live cursors

`, urls.HTTP)
	}
	return nil
}
