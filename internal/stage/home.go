package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A home is where the channels of a stage live, in this process, behind a QUIC address that edges
// link to and that stays the same over restarts.
type home struct {
	// Set at construction.
	ctx        context.Context
	namespaces map[relay.Namespace]channel.Policy
	tls        *tls.Config

	// Guarded by mu.
	mu      sync.Mutex
	address string
	bare    *core.Bare
	endBare func()
	endLink func() // nil: no edge reaches the home
}

// newHome starts a home.
func newHome(ctx context.Context, a *authority, namespaces map[string]retention) (*home, error) {
	if _, err := a.issue("home"); err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(a.file("home.pem"), a.file("home.key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	h := &home{
		ctx: ctx, address: "127.0.0.1:0", namespaces: make(map[relay.Namespace]channel.Policy),
		tls: &tls.Config{
			Certificates: []tls.Certificate{cert}, ClientCAs: pool,
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		},
	}
	for name, r := range namespaces {
		h.namespaces[relay.Namespace(name)] = channel.Policy{
			Age: time.Duration(r.Age) * time.Millisecond, Count: r.Count, Bytes: r.Bytes, Keyed: r.Keyed, Payload: r.Payload,
		}
	}
	return h, h.change("restart")
}

func (h *home) upstream() relay.Upstream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bare
}

func (h *home) close() {
	_ = h.change("lost")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.endBare != nil {
		h.endBare()
	}
}

// change lets something happen to the home. lost: no edge reaches it any more; back: they do
// again; restart: it dies with all that it held, and a new one stands in its place.
func (h *home) change(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch what {
	case "lost", "restart":
		if h.endLink != nil {
			h.endLink()
			h.endLink = nil
		}
	case "back":
	default:
		return fmt.Errorf("home: %q is not lost, back or restart", what)
	}
	if what == "restart" {
		if h.endBare != nil {
			h.endBare()
		}
		bare, err := core.NewBare(core.BareConfig{Namespaces: h.namespaces, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		h.bare, h.endBare = bare, background(h.ctx, "home", bare.Run)
	}
	if what == "lost" || h.endLink != nil {
		return nil
	}
	return h.listen()
}

// listen lets edges reach the home.
func (h *home) listen() error {
	conn, err := net.ListenPacket("udp", h.address)
	if err != nil {
		return err
	}
	h.address = conn.LocalAddr().String()
	bare := h.bare
	server, err := transport.NewPeerServer(transport.PeerConfig{
		TLS: h.tls, PacketConn: conn,
		Serve: func(ctx context.Context, s relay.Session) {
			_ = link.NewServer(link.ServeConfig{
				Session: s, Upstream: bare,
				Gate:    link.Open{Grant: &relay.Grant{Subject: "fleet", Hop: true}},
				Welcome: &wire.Welcome{Edge: "home", Limits: &wire.Limits{Payload: wire.MaxPayload, Unanswered: 64 << 20}},
			}).Run(ctx) // that it ends is what a stage is for
		},
	})
	if err != nil {
		conn.Close()
		return err
	}
	h.endLink = background(h.ctx, "peers", server.Run)
	return nil
}

// background runs f until ctx ends or the function that it returns is called, which waits.
func background(ctx context.Context, name string, f func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "stage: %s: %v\n", name, err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
