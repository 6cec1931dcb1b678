package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/stack"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// EdgeConfig configures an EdgeProcess. Name, Listeners, Tokens, and one of Namespaces and Nodes
// are needed.
type EdgeConfig struct {
	Name      string
	Region    relay.Region
	Listeners *Listeners // closed by Run
	// Certificates for clients.
	Certificates []tls.Certificate
	// TokenKey and ResetKey are QUIC's; nil: random.
	TokenKey, ResetKey *[32]byte

	Tokens  *token.Verifier
	Origins []string // pages that may connect; see edge.Config
	Limits  edge.Limits
	// Alternatives are URLs of other edges, for sessions that are asked to go.
	Alternatives []string
	// Pages serves HTTP requests outside of /v1/. nil: not found.
	Pages http.Handler

	Namespaces map[relay.Namespace]channel.Policy // of a home in this process
	Nodes      *NodesConfig                       // a home elsewhere
	Cores      []*core.Node                       // durable nodes in this process, closed by Run; the first is asked
	Hub        hub.Config                         // its Upstream is set here
	Peers      *PeersConfig                       // offers the home to other edges; nil: not

	Grace time.Duration // the longest that a drain takes; 0: sessions end at once
	Log   *slog.Logger  // nil: none
}

// An EdgeProcess is one edge and what stands behind it: a hub over a home in this process, or
// over links to nodes.
type EdgeProcess struct {
	// Set at construction.
	home  relay.Upstream // without the hub
	edge  *edge.Edge
	peers *peers
	parts []stack.Part
	grace time.Duration
}

// NewEdgeProcess assembles an edge; Run starts it. On an error, the listeners stay open.
func NewEdgeProcess(c EdgeConfig) (*EdgeProcess, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &EdgeProcess{grace: c.Grace}
	var upstream relay.Upstream
	switch {
	case c.Nodes != nil && c.Namespaces != nil, c.Cores != nil && (c.Nodes != nil || c.Namespaces != nil):
		return nil, errors.New("a home here and nodes elsewhere: only one of them")
	case c.Cores != nil:
		upstream = c.Cores[0].Router()
		for i, node := range c.Cores {
			p.parts = append(p.parts, stack.Part{Name: fmt.Sprint("node ", i+1), Run: node.Run})
		}
	case c.Nodes != nil:
		links, part, err := newLinks(*c.Nodes, c.Log)
		if err != nil {
			return nil, err
		}
		upstream = links
		p.parts = append(p.parts, part)
	default:
		home, err := core.NewBare(core.BareConfig{Namespaces: c.Namespaces, Log: c.Log})
		if err != nil {
			return nil, fmt.Errorf("home: %w", err)
		}
		upstream = home
		p.parts = append(p.parts, stack.Part{Name: "home", Run: home.Run})
	}
	p.home = upstream
	c.Hub.Upstream, c.Hub.Log = upstream, c.Log
	fanOut := hub.New(c.Hub)
	p.parts = append(p.parts, stack.Part{Name: "hub", Run: fanOut.Run})

	if c.Peers != nil {
		var err error
		if p.peers, err = newPeers(*c.Peers, fanOut, c.Log); err != nil {
			return nil, err
		}
		p.parts = append(p.parts, stack.Part{Name: "peers", Run: p.peers.run})
	}

	p.parts = append(p.parts, stack.Part{Name: "tokens", Run: c.Tokens.Run})
	var err error
	p.edge, err = edge.New(edge.Config{
		Name:         c.Name,
		Region:       c.Region,
		Upstream:     fanOut,
		Tokens:       c.Tokens,
		PacketConn:   c.Listeners.UDP,
		Listener:     c.Listeners.TCP,
		Plain:        c.Listeners.Plain,
		Ops:          c.Listeners.Ops,
		Certificates: c.Certificates,
		TokenKey:     c.TokenKey,
		ResetKey:     c.ResetKey,
		Origins:      c.Origins,
		Limits:       c.Limits,
		Grace:        c.Grace,
		Alternatives: c.Alternatives,
		Ready:        c.Tokens.Ready,
		HubStats:     fanOut.Stats,
		Pages:        c.Pages,
		Log:          c.Log,
	})
	if err != nil {
		return nil, err
	}
	p.parts = append(p.parts, stack.Part{Name: "edge", Run: p.edge.Run})
	return p, nil
}

// Run serves until ctx ends, then drains and stops.
func (p *EdgeProcess) Run(ctx context.Context) error {
	return stack.Run(ctx, p.drain, p.parts...)
}

func (p *EdgeProcess) drain() {
	if p.grace == 0 {
		return
	}
	if p.peers != nil {
		p.peers.leave(p.grace)
	}
	p.edge.Drain(context.Background()) // it has its own grace
}

// Reload changes what an edge can change while it runs.
func (p *EdgeProcess) Reload(r edge.Reload) error { return p.edge.Reload(r) }
