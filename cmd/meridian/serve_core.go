package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/relay"
)

func newServeCore(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "core",
		Short: "Run a node: replicas of shards, on its own disk",
		Long: `Run a node. Its settings come from --config, the environment (MERIDIAN_…) and flags; of one that
is given twice the later counts. ` + "`meridian config show --for core`" + ` prints all of them.

A new fleet begins once, with --bootstrap on every node; it does when all of them have met. A node
that lost its disk starts with --join, and is taken in by ` + "`meridian shard replace`" + `.

It prints one line "ready {json}" on standard output. SIGTERM hands its leaderships over and ends it,
SIGHUP loads certificates and namespaces anew. Exit codes: 20 the folder is in use, 21 it is not
this node's, 22 it is damaged, 23 the disk failed, 24 it is empty.`,
		Args: cobra.NoArgs,
	}
	s := newServeSettings(cmd, "which of nodes this is", "UDP for nodes and edges", "health, metrics, shards and channels; empty: none")
	s.flag("data", "", "folder of logs and states")
	s.bool("bootstrap", "begin a new fleet on an empty folder")
	s.bool("join", "wait on an empty folder to be taken in by a fleet")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, set, err := s.loadCore(a)
		if err != nil {
			return err
		}
		if err := check(&c, set); err != nil {
			return err
		}
		return a.serveCore(cmd.Context(), c, set, s)
	}
	return cmd
}

// serveCore runs a node until ctx ends.
func (a *app) serveCore(ctx context.Context, c config.Core, set *config.Settings, s *settings) error {
	log := newLog(a.err, c.Log)
	var own pair
	cfg, err := nodeConfig(&c, &own, log)
	if err != nil {
		return err
	}
	if err := listen(&c, &cfg); err != nil {
		return err
	}
	node, err := core.NewNode(cfg)
	if err != nil {
		cfg.PacketConn.Close()
		if cfg.Ops != nil {
			cfg.Ops.Close()
		}
		return err
	}
	ready := map[string]string{"name": c.Name, "fleet": c.Fleet, "listen": cfg.PacketConn.LocalAddr().String(), "store": node.Store().String()}
	if cfg.Ops != nil {
		ready["ops"] = cfg.Ops.Addr().String()
	}
	if err := a.ready(ready); err != nil {
		return errors.Join(err, node.Close())
	}
	return runReloading(ctx, node.Run, func(context.Context) {
		set = a.reloadCore(s, set, &own, node, log)
	})
}

// reloadCore puts what changed to use: all of it, or, on an error, nothing. It returns the settings
// now in force.
func (a *app) reloadCore(s *settings, old *config.Settings, own *pair, node *core.Node, log *slog.Logger) *config.Settings {
	c, set, err := s.loadCore(a)
	if err == nil {
		err = c.Check()
	}
	var list map[relay.Namespace]core.Namespace
	if err == nil {
		list, err = namespaces(c.Namespaces)
	}
	var cert *tls.Certificate
	if err == nil {
		cert, _, err = identity(&c)
	}
	if err == nil {
		err = node.Reload(list)
	}
	if err == nil {
		own.now.Store(cert)
	}
	return reloaded(log, old, set, err, "namespaces", "tls.cert", "tls.key")
}

// nodeConfig makes a node's configuration of settings.
func nodeConfig(c *config.Core, own *pair, log *slog.Logger) (core.NodeConfig, error) {
	cfg := core.NodeConfig{
		Name: shard.Node(c.Name), Fleet: c.Fleet, Dir: c.Data, Shards: c.Shards,
		Bootstrap: c.Bootstrap, Join: c.Join,
		Cache: int64(c.Cache), Slack: core.DefaultSlack, Budget: uint64(c.Budget), Hub: hubConfig(c.Hub), Grace: c.Grace, Log: log,
	}
	for _, n := range c.Nodes {
		cfg.Nodes = append(cfg.Nodes, core.Member{
			Name: shard.Node(n.Name), Address: n.Address, Region: relay.Region(n.Region), Zone: n.Zone,
		})
	}
	var err error
	if cfg.Namespaces, err = namespaces(c.Namespaces); err != nil {
		return cfg, err
	}
	cert, authority, err := identity(c)
	if err != nil {
		return cfg, err
	}
	own.now.Store(cert)
	cfg.TLS = &tls.Config{
		RootCAs: authority, ClientCAs: authority, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.now.Load(), nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.now.Load(), nil },
	}
	return cfg, nil
}

// namespaces returns them as a node wants them.
func namespaces(all map[string]config.Namespace) (map[relay.Namespace]core.Namespace, error) {
	plain, err := policies(all)
	if err != nil {
		return nil, err
	}
	list := make(map[relay.Namespace]core.Namespace, len(all))
	for name, ns := range all {
		n := core.Namespace{Policy: plain[relay.Namespace(name)], Home: relay.Region(ns.Home)}
		if ns.Class != "" {
			if n.Class, err = shard.ParseClass(ns.Class); err != nil {
				return nil, fmt.Errorf("namespaces.%s: %w", name, err)
			}
		}
		for _, region := range ns.Learners {
			n.Learners = append(n.Learners, relay.Region(region))
		}
		list[relay.Namespace(name)] = n
	}
	return list, nil
}
