package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/bench/meter"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// meridianServer is the child that runs a relay: a home in memory, a hub and an edge.
type meridianServer struct {
	conn  *meter.Conn
	hub   *hub.Hub
	stops []func() // of the parts, the last first
	profiler

	mu  sync.Mutex
	err error // of the first part that ended by itself
}

// everything is a verifier that lets every token do everything: what a token costs at Hello is
// not what is measured here.
type everything struct{}

func (everything) Verify(string) (*relay.Grant, relay.End) {
	all := relay.ActSubscribe | relay.ActPublish | relay.ActHistory
	return &relay.Grant{
		Subject:      "bench",
		Capabilities: []relay.Capability{{Pattern: "*", Actions: all}},
	}, relay.End{}
}

var _ edge.Verifier = everything{}

func (m *meridianServer) handle(_ context.Context, r request) (a answer, err error) {
	if r.Do == "listen" {
		err := m.listen(r.Listen.Retain)
		if err == nil {
			a.Ready = &ready{Addr: m.conn.LocalAddr().String(), Path: path, Token: "bench"}
		}
		return a, err
	}
	if m.conn == nil {
		return a, fmt.Errorf("%s before listen", r.Do)
	}
	m.mu.Lock()
	err = m.err
	m.mu.Unlock()
	if err != nil {
		return a, err
	}
	switch r.Do {
	case "profile":
		return a, m.profile(r.File)
	case "usage":
		u, err := meter.Take(m.conn, r.Collect)
		a.Usage = &u
		return a, err
	}
	return a, errUnknown
}

func (m *meridianServer) listen(retain uint64) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	home, err := core.NewBare(core.BareConfig{Namespaces: map[relay.Namespace]channel.Policy{
		"bench": {Age: time.Minute, Bytes: retain},
	}})
	if err != nil {
		return err
	}
	m.hub = hub.New(hub.Config{Upstream: home})
	if m.conn, err = meter.Listen(); err != nil {
		return err
	}
	no := edge.Scope{Sessions: -1, Subscriptions: -1, Publishes: -1, Bytes: -1}
	e, err := edge.New(edge.Config{
		Name: "bench", Region: "bench", Upstream: m.hub, Tokens: everything{},
		PacketConn: m.conn, Certificates: []tls.Certificate{cert},
		Limits: edge.Limits{Session: no, Subject: no, Address: no},
	})
	if err != nil {
		return err
	}
	m.run("home", home.Run)
	m.run("hub", m.hub.Run)
	m.run("edge", e.Run)
	return nil
}

// run runs a part until close.
func (m *meridianServer) run(name string, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if err := part(ctx); ctx.Err() == nil {
			m.mu.Lock()
			m.err = fmt.Errorf("%s ended by itself: %w", name, err)
			m.mu.Unlock()
		}
	}()
	m.stops = append(m.stops, func() {
		cancel()
		<-gone
	})
}

func (m *meridianServer) close() {
	for i := len(m.stops) - 1; i >= 0; i-- {
		m.stops[i]()
	}
}
