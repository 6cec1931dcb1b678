package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// settings are the flags of a command that has a configuration.
type settings struct {
	cmd  *cobra.Command
	keys map[string]string // flag to key
	file string
	set  []string
}

// newSettings adds --config and --set.
func newSettings(cmd *cobra.Command) *settings {
	s := &settings{cmd: cmd, keys: make(map[string]string)}
	f := cmd.Flags()
	f.StringVar(&s.file, "config", "", "configuration file in YAML; default: MERIDIAN_CONFIG")
	f.StringArrayVar(&s.set, "set", nil, "KEY=VALUE: any setting, such as limits.payload=128KiB; may repeat")
	return s
}

// flag adds a flag for a setting; its name is the key unless given.
func (s *settings) flag(key, name, help string) {
	if name == "" {
		name = key
	}
	s.keys[name] = key
	s.cmd.Flags().String(name, "", help)
}

// bool adds a flag for a setting that is on or off.
func (s *settings) bool(key, help string) {
	s.keys[key] = key
	s.cmd.Flags().Bool(key, false, help)
}

// sources returns where settings come from.
func (s *settings) sources(a *app) (config.Sources, error) {
	src := config.Sources{File: s.file, Environ: a.environ, Flags: make(map[string]string)}
	if src.File == "" {
		src.File = a.getenv("CONFIG")
	}
	for _, entry := range s.set {
		key, value, ok := strings.Cut(entry, "=")
		if !ok || key == "" {
			return src, usagef("--set %q: write KEY=VALUE", entry)
		}
		src.Flags[key] = value
	}
	for name, key := range s.keys {
		if f := s.cmd.Flags().Lookup(name); f.Changed {
			src.Flags[key] = f.Value.String()
		}
	}
	return src, nil
}

// A checker is a configuration that says what is wrong with it.
type checker interface{ Check() error }

// fill fills c, which has its defaults, and does not check it.
func (s *settings) fill(a *app, c any) (*config.Settings, error) {
	src, err := s.sources(a)
	if err != nil {
		return nil, err
	}
	set, err := config.Load(c, src)
	if err != nil {
		return nil, blame(err)
	}
	return set, nil
}

// load fills c and checks it.
func (s *settings) load(a *app, c checker) error {
	set, err := s.fill(a, c)
	if err != nil {
		return err
	}
	return check(c, set)
}

// check makes what is wrong with flags alone an error of usage.
func check(c checker, set *config.Settings) error {
	err := c.Check()
	if err != nil && set.OfFlags(err) {
		return usageError{err}
	}
	return err
}

// blame makes faults of flags alone an error of usage.
func blame(err error) error {
	if faults, ok := errors.AsType[*config.Faults](err); ok && faults.OfFlags() {
		return usageError{err}
	}
	return err
}

func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// policies returns namespaces as the home wants them.
func policies(all map[string]config.Namespace) (map[relay.Namespace]channel.Policy, error) {
	list := make(map[relay.Namespace]channel.Policy, len(all))
	for name, ns := range all {
		p := channel.Policy{
			Age: time.Duration(ns.Age), Count: uint64(ns.Messages), Bytes: uint64(ns.Bytes),
			Keyed: ns.Keyed, Payload: int(ns.Payload), ForgetAfter: ns.ForgetAfter,
		}
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("namespaces.%s: %w", name, err)
		}
		list[relay.Namespace(name)] = p
	}
	return list, nil
}

func edgeLimits(l config.Limits) edge.Limits {
	scope := func(s config.Scope) edge.Scope {
		return edge.Scope{
			Sessions: s.Sessions, Subscriptions: s.Subscriptions, Subscribes: s.SubscribesPerSecond,
			Publishes: s.PublishesPerSecond, Bytes: float64(s.BytesPerSecond),
		}
	}
	return edge.Limits{
		Payload: int(l.Payload), Unanswered: int(l.Unanswered), Sessions: l.Sessions,
		Session: scope(l.Session), Subject: scope(l.Subject), Address: scope(l.Address),
	}
}

func hubConfig(h config.Hub) hub.Config {
	return hub.Config{RingBytes: int(h.Ring), Budget: int64(h.Budget), Linger: h.Linger}
}
