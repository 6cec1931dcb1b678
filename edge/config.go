package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// A Verifier turns tokens into grants. If the End's code is not Done, there is no grant. It may
// take a second or two; it is called by many at the same time.
type Verifier interface {
	Verify(token string) (*relay.Grant, relay.End)
}

// Config configures an Edge. Name, Upstream, Tokens and a listener are needed.
type Config struct {
	Name     string // of this edge: what clients and operators see
	Region   relay.Region
	Upstream relay.Upstream // must run for as long as the edge
	Tokens   Verifier

	// Listeners, closed by Run. PacketConn and Listener share their port number and serve
	// clients under Certificates: HTTP/3 and WebTransport on UDP; HTTP/1.1, HTTP/2 and
	// WebSocket on TCP. Plain serves the latter without TLS, and belongs on loopback. Ops serves
	// health, metrics and profiles to operators. nil: none.
	PacketConn net.PacketConn
	Listener   net.Listener
	Plain      net.Listener
	Ops        net.Listener

	// Certificates for clients, by server name. Needed with PacketConn or Listener.
	Certificates []tls.Certificate
	// TokenKey and ResetKey keep address tokens and stateless resets valid across restarts.
	// nil: random.
	TokenKey, ResetKey *[32]byte

	// Origins are the pages that browsers may connect from: "https://app.example",
	// "https://*.example" (any subdomain), "http://localhost:*" (any port), "*" (all). Empty:
	// none. A client without an origin is no browser and may always.
	Origins []string
	Limits  Limits

	// Grace is how long Drain lets sessions go by themselves. 0: 30 s.
	Grace time.Duration
	// Alternatives are URLs of other edges, for sessions that are asked to go.
	Alternatives []string
	// Ready returns why this process is not ready, beside draining. nil: always ready.
	Ready func() error
	// Pages serves HTTP requests outside of /v1/. nil: not found.
	Pages http.Handler
	// HubStats reads the figures of the hub behind Upstream, for metrics. nil: none.
	HubStats func() hub.Stats
	// Carriers tunes the carriers. What this Config says itself, and Serve and Handler, are
	// ignored in it.
	Carriers transport.ServerConfig
	// Log. nil: none.
	Log *slog.Logger
}

func (c *Config) check() error {
	switch {
	case c.Name == "":
		return errors.New("edge: no name")
	case c.Upstream == nil || c.Tokens == nil:
		return fmt.Errorf("edge %q: Upstream and Tokens are needed", c.Name)
	case c.PacketConn == nil && c.Listener == nil && c.Plain == nil:
		return fmt.Errorf("edge %q: no listener for clients", c.Name)
	case (c.PacketConn != nil || c.Listener != nil) && len(c.Certificates) == 0:
		return fmt.Errorf("edge %q: no certificate for clients", c.Name)
	}
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
