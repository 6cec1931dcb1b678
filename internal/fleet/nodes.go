package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/internal/stack"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// NodesConfig says where an edge's home is.
type NodesConfig struct {
	Addresses []string    // HOST:PORT; links spread over them, and go on to those that answer; at least one
	Links     int         // sessions kept; 0: 1
	TLS       *tls.Config // the fleet's CA and this process's certificate
	Agent     string      // names this process to the nodes
}

// A node that is silent for silentFor is given up, and another one is asked: signs of life come
// every aliveEvery. One that merely paused is found again as quickly.
const (
	silentFor  = 2 * time.Second
	aliveEvery = 400 * time.Millisecond
)

// newLinks returns links to nodes, and the part that keeps them up.
func newLinks(c NodesConfig, log *slog.Logger) (*link.Links, stack.Part, error) {
	if len(c.Addresses) == 0 {
		return nil, stack.Part{}, errors.New("no node to link to; name at least one HOST:PORT")
	}
	dialers := make(map[string]*transport.Dialer)
	end := func() {
		for _, d := range dialers {
			d.Close()
		}
	}
	for _, address := range c.Addresses {
		host, _, err := net.SplitHostPort(address)
		if err == nil && dialers[address] == nil {
			dialers[address], err = transport.NewDialer(transport.DialerConfig{
				TLS: toNode(c.TLS, host), IdleTimeout: silentFor, KeepAlive: aliveEvery,
			})
		}
		if err != nil {
			end()
			return nil, stack.Part{}, fmt.Errorf("node %q: %w", address, err)
		}
	}
	connect := func(ctx context.Context, address string) (*link.Link, error) {
		session, err := dialers[address].QUIC(ctx, address)
		if err != nil {
			return nil, err
		}
		return link.Connect(ctx, link.Config{
			Session: session, Agent: c.Agent,
			Default: link.Options{Window: -1}, // the hub reads all, and bounds it
		})
	}
	// Edges begin with different nodes, and so do the links of one.
	first := rand.Uint64()
	var turn atomic.Uint64
	links := link.NewLinks(link.LinksConfig{
		Links: c.Links,
		Log:   log,
		Dial: func(ctx context.Context) (*link.Link, error) {
			n := int((first + turn.Add(1)) % uint64(len(c.Addresses)))
			return link.Reach(ctx, slices.Concat(c.Addresses[n:], c.Addresses[:n]), connect)
		},
	})
	return links, stack.Part{Name: "links", Run: func(ctx context.Context) error {
		err := links.Run(ctx)
		end()
		return err
	}}, nil
}

// PeersConfig offers a home to other edges.
type PeersConfig struct {
	PacketConn net.PacketConn // closed by Run
	TLS        *tls.Config    // this process's certificate, and the CA of those who may come
	Name       string         // what the other side is told
	Region     relay.Region
}

// peers serves other edges an Upstream. Who has a certificate of the fleet may do everything.
type peers struct {
	// Set at construction.
	cfg      PeersConfig
	upstream relay.Upstream
	server   *transport.PeerServer
	log      *slog.Logger

	mu       sync.Mutex
	sessions map[*link.Server]struct{}
}

func newPeers(c PeersConfig, upstream relay.Upstream, log *slog.Logger) (*peers, error) {
	p := &peers{cfg: c, upstream: upstream, log: log, sessions: make(map[*link.Server]struct{})}
	var err error
	p.server, err = transport.NewPeerServer(transport.PeerConfig{
		TLS: c.TLS, PacketConn: c.PacketConn, Serve: p.serve, Log: log,
	})
	return p, err
}

func (p *peers) run(ctx context.Context) error { return p.server.Run(ctx) }

func (p *peers) serve(ctx context.Context, s relay.Session) {
	server := link.NewServer(link.ServeConfig{
		Session: s, Upstream: p.upstream, Log: p.log,
		Gate:    link.Open{Grant: &relay.Grant{Subject: "fleet", Hop: true}},
		Welcome: &wire.Welcome{Edge: p.cfg.Name, Region: string(p.cfg.Region), Limits: &wire.Limits{Payload: wire.MaxPayload, Unanswered: 64 << 20}},
	})
	p.mu.Lock()
	p.sessions[server] = struct{}{}
	p.mu.Unlock()
	_ = server.Run(ctx) // why it ended is in the log
	p.mu.Lock()
	delete(p.sessions, server)
	p.mu.Unlock()
}

// leave asks every peer to go elsewhere.
func (p *peers) leave(within time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for server := range p.sessions {
		server.GoAway(relay.GoingAway, within, nil)
	}
}
