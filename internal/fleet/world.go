package fleet

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// Names in the tokens of a World.
const (
	DevIssuer   = "meridian-dev"
	DevAudience = "meridian"
)

// Config configures a World. The zero value works: free ports on loopback, namespace demo.
type Config struct {
	Listen string // for clients; empty: 127.0.0.1:0
	HTTP   string // plain HTTP and WebSocket; empty: none
	Ops    string // health, metrics, profiles; empty: none
	// Namespaces of the home. nil: demo, 24 h, 2,000,000 messages, 1 GiB.
	Namespaces map[relay.Namespace]channel.Policy
	// Data makes the home durable: a folder for so many nodes. Empty: a home in memory.
	Data  string
	Nodes int // 0: 1
	// Classes may say more of namespaces than their policies, where the home is durable.
	Classes map[relay.Namespace]core.Namespace

	Limits edge.Limits
	Hub    hub.Config   // its Upstream is set here
	Pages  http.Handler // for requests outside of /v1/; nil: not found
	// Origins that pages may come from. nil: pages on this machine.
	Origins []string
	// Grace is how long a drain takes at most. 0: sessions end at once.
	Grace time.Duration
	// Renewed is called, from Run, when there is a new certificate. nil: nobody is.
	Renewed func()
	Log     *slog.Logger // nil: none
}

// demo is the policy of namespace demo.
var demo = channel.Policy{Age: 24 * time.Hour, Count: 2_000_000, Bytes: 1 << 30}

// loopbackOrigins are the pages of this machine.
var loopbackOrigins = []string{
	"http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*",
	"https://localhost:*", "https://127.0.0.1:*", "https://[::1]:*",
}

// A World is a home, a hub and an edge in one process, with a certificate and tokens of its own.
type World struct {
	// Set at construction.
	process *EdgeProcess
	cores   []*core.Node // none: the home is in memory
	cfg     Config
	signer  *token.Signer
	secret  []byte
	urls    URLs
	sockets *Listeners
	ring    *ring
}

// URLs are where a World listens; empty: nowhere.
type URLs struct {
	Relay string // https, for WebTransport and WebSocket
	HTTP  string // http, for WebSocket and pages
	Ops   string // http
	// Nodes are the listeners for operators of the nodes in it; none without Ops.
	Nodes []string
}

// NewWorld opens the listeners of a world; Run serves.
func NewWorld(c Config) (*World, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Namespaces == nil {
		c.Namespaces = map[relay.Namespace]channel.Policy{"demo": demo}
	}
	if c.Origins == nil {
		c.Origins = loopbackOrigins
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &World{cfg: c, secret: make([]byte, 32)}
	_, _ = rand.Read(w.secret) // never fails
	var err error
	if w.signer, err = token.NewSecretSigner(w.secret); err != nil {
		return nil, err
	}
	verifier, err := token.New(token.Config{
		Issuers: []token.Issuer{{Name: DevIssuer, Audience: DevAudience, Secret: w.secret}},
		Log:     c.Log,
	})
	if err != nil {
		return nil, err
	}
	if w.ring, err = newRing(time.Now()); err != nil {
		return nil, err
	}
	listeners, err := Listen(c.Listen, c.HTTP, c.Ops)
	if err != nil {
		return nil, err
	}
	w.sockets = listeners
	w.urls.Relay = "https://" + listeners.TCP.Addr().String()
	if listeners.Plain != nil {
		w.urls.HTTP = "http://" + listeners.Plain.Addr().String()
	}
	if listeners.Ops != nil {
		w.urls.Ops = "http://" + listeners.Ops.Addr().String()
	}
	e := EdgeConfig{
		Name: "dev", Region: "local", Listeners: listeners,
		Certificates: []tls.Certificate{w.ring.inUse()},
		Tokens:       verifier, Origins: c.Origins, Limits: c.Limits, Pages: c.Pages,
		Namespaces: c.Namespaces, Hub: c.Hub, Grace: c.Grace, Log: c.Log,
	}
	if c.Data != "" {
		if c.Classes == nil {
			c.Classes = coreNamespaces(c.Namespaces)
		}
		e.Namespaces = nil
		if e.Cores, w.urls.Nodes, err = newCores(c.Data, max(c.Nodes, 1), c.Classes, c.Ops != "", c.Log); err != nil {
			listeners.Close()
			return nil, err
		}
	}
	if w.process, err = NewEdgeProcess(e); err != nil {
		listeners.Close()
		return nil, errors.Join(err, closeCores(e.Cores))
	}
	w.cores = e.Cores
	return w, nil
}

// Run serves until ctx ends, then drains and stops.
func (w *World) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	renewing, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() {
		w.ring.keepFresh(renewing, w.cfg.Log, func(c tls.Certificate) error {
			return w.process.Reload(edge.Reload{Certificates: []tls.Certificate{c}})
		}, w.cfg.Renewed)
	})
	return w.process.Run(ctx)
}

// Close closes the listeners and nodes of a world that was never run.
func (w *World) Close() {
	w.sockets.Close()
	_ = closeCores(w.cores) // nothing was written
}

// URLs returns where the world listens.
func (w *World) URLs() URLs { return w.urls }

// Home returns the world's home, for who publishes without a session.
func (w *World) Home() relay.Upstream { return w.process.home }

// CertHashes returns the SHA-256 of the certificate in use and of the one that follows.
func (w *World) CertHashes() [2][32]byte {
	return w.ring.hashes()
}

// Secret signs the world's tokens, by HS256.
func (w *World) Secret() []byte { return w.secret }

// Everything is the capability to do everything everywhere.
func Everything() map[string][]string {
	return map[string][]string{"*": {"subscribe", "publish", "history"}}
}

// Token signs a token for a subject. No capabilities: everything.
func (w *World) Token(subject string, lifetime time.Duration, capabilities map[string][]string) (string, error) {
	if capabilities == nil {
		capabilities = Everything()
	}
	return w.signer.Sign(token.Claims{
		Issuer: DevIssuer, Audience: DevAudience, Subject: subject, Lifetime: lifetime, Capabilities: capabilities,
	})
}

// Dial connects a client that may do everything. Where c has a token or hashes, these stay.
func (w *World) Dial(ctx context.Context, subject string, c client.Config) (*client.Client, error) {
	if c.Token == "" && c.TokenSource == nil {
		c.TokenSource = func(context.Context) (string, error) { return w.Token(subject, 0, nil) }
	}
	if c.CertHashes == nil {
		hashes := w.CertHashes()
		c.CertHashes = hashes[:]
	}
	conn, err := client.Dial(ctx, w.urls.Relay, c)
	if err != nil {
		return nil, fmt.Errorf("world at %s: %w", w.urls.Relay, err)
	}
	return conn, nil
}
