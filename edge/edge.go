package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/meridian-relay/meridian/internal/transport"
)

// An Edge admits clients and serves them an Upstream.
type Edge struct {
	// Set at construction.
	cfg       Config
	log       *slog.Logger
	origins   origins
	transport *transport.Server
	api       *api
	subjects  *book
	addresses *book
	all       *account // the sessions of this edge
	count     *counts
	upstream  countedUpstream

	limits       atomic.Pointer[Limits] // resolved
	certificates atomic.Pointer[[]tls.Certificate]
	draining     atomic.Bool
	sessions     registry
}

// New returns an Edge; Run serves.
func New(cfg Config) (*Edge, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	limits, err := cfg.Limits.resolved()
	if err != nil {
		return nil, fmt.Errorf("edge %q: %w", cfg.Name, err)
	}
	allowed, err := parseOrigins(cfg.Origins)
	if err != nil {
		return nil, fmt.Errorf("edge %q: %w", cfg.Name, err)
	}
	e := &Edge{
		cfg:       cfg,
		log:       cfg.Log,
		origins:   allowed,
		subjects:  newBook("subject", limits.Subject),
		addresses: newBook("address", limits.Address),
		all:       &account{scope: "edge", limits: Scope{Sessions: limits.Sessions}},
	}
	e.count = newCounts(e)
	e.upstream = countedUpstream{cfg.Upstream, e.count}
	e.limits.Store(&limits)
	e.certificates.Store(&cfg.Certificates)
	e.api = newAPI(e)
	carriers := cfg.Carriers
	carriers.TLS = e.tls()
	carriers.PacketConn, carriers.Listener, carriers.Plain = cfg.PacketConn, cfg.Listener, cfg.Plain
	carriers.Handler, carriers.Serve, carriers.Origins = e, e.serve, e.origins.allow
	carriers.TokenKey, carriers.ResetKey = cfg.TokenKey, cfg.ResetKey
	carriers.Log = cfg.Log
	e.transport, err = transport.NewServer(carriers)
	if err != nil {
		return nil, fmt.Errorf("edge %q: %w", cfg.Name, err)
	}
	e.count.registry.MustRegister(transportFigures(e.transport.Stats))
	if cfg.HubStats != nil {
		e.count.registry.MustRegister(hubFigures(cfg.HubStats))
	}
	return e, nil
}

// Run serves until ctx ends, then closes what is left. Without a Drain before it, sessions end
// at once.
func (e *Edge) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errs [2]error
	var group sync.WaitGroup
	group.Go(func() {
		defer cancel()
		errs[0] = e.transport.Run(ctx)
	})
	if e.cfg.Ops != nil {
		group.Go(func() {
			defer cancel()
			errs[1] = e.serveOps(ctx)
		})
	}
	group.Wait()
	return errors.Join(errs[:]...)
}

// A Reload says what changes while the edge runs. Where a field is nil, all stays.
type Reload struct {
	Limits       *Limits
	Certificates []tls.Certificate
}

// Reload changes limits and certificates. Peers that have more than new limits allow keep it;
// Welcome's limits are those of when the session began. On an error nothing changed.
func (e *Edge) Reload(r Reload) error {
	if r.Limits != nil {
		limits, err := r.Limits.resolved()
		if err != nil {
			return fmt.Errorf("edge %q: %w", e.cfg.Name, err)
		}
		e.limits.Store(&limits)
		e.all.setLimits(Scope{Sessions: limits.Sessions})
		e.subjects.setLimits(limits.Subject)
		e.addresses.setLimits(limits.Address)
		e.sessions.setLimits(limits.Session)
	}
	if len(r.Certificates) > 0 {
		e.certificates.Store(&r.Certificates)
	}
	e.log.Info("reloaded", "limits", r.Limits != nil, "certificates", len(r.Certificates))
	return nil
}

// tls returns a configuration whose certificates Reload can change.
func (e *Edge) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // for back-ends; QUIC has 1.3 by itself
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			list := *e.certificates.Load()
			for i := range list {
				if hello.SupportsCertificate(&list[i]) == nil {
					return &list[i], nil
				}
			}
			return &list[0], nil
		},
	}
}
