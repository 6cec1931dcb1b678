package edge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
	"github.com/meridian-relay/meridian/relay/link"
)

const (
	testIssuer   = "https://issuer.example"
	testAudience = "relay"
)

var testSecret = []byte("a secret of thirty-two bytes, or more")

// A world is an edge over a home in memory, on real sockets.
type world struct {
	t      *testing.T
	edge   *edge.Edge
	signer *token.Signer
	dialer *transport.Dialer
	roots  *x509.CertPool

	verifier     *token.Verifier
	certificates []tls.Certificate

	addr  string // HTTPS, WebTransport and WebSocket
	plain string // HTTP without TLS
	ops   string
	stop  func() error // ends the edge and returns what Run did
}

// newWorld runs a world until the test ends. The test runs beside others.
func newWorld(t *testing.T, change func(*edge.Config)) *world {
	t.Helper()
	t.Parallel()
	bare, err := core.NewBare(core.BareConfig{
		Namespaces: map[relay.Namespace]channel.Policy{"demo": {}, "small": {Payload: 8}},
		Log:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Config{Upstream: bare, Linger: 10 * time.Millisecond})
	verifier, err := token.New(token.Config{Issuers: []token.Issuer{
		{Name: testIssuer, Audience: testAudience, Secret: testSecret}}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.NewSecretSigner(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t)
	w := &world{t: t, signer: signer, verifier: verifier, certificates: []tls.Certificate{cert}}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(cert.Leaf)
	tcp, udp := listenBoth(t)
	plain, ops := listenTCP(t), listenTCP(t)
	w.addr, w.plain, w.ops = tcp.Addr().String(), plain.Addr().String(), ops.Addr().String()
	cfg := edge.Config{
		Name: "edge-1", Region: "eu-west", Upstream: h, HubStats: h.Stats, Tokens: verifier,
		PacketConn: udp, Listener: tcp, Plain: plain, Ops: ops,
		Certificates: []tls.Certificate{cert},
		Origins:      []string{"https://app.example"},
		Grace:        5 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	if w.edge, err = edge.New(cfg); err != nil {
		t.Fatal(err)
	}
	if w.dialer, err = transport.NewDialer(transport.DialerConfig{CertHashes: [][32]byte{sha256.Sum256(cert.Leaf.Raw)}}); err != nil {
		t.Fatal(err)
	}
	w.run(bare, h)
	return w
}

// run runs everything until the test ends.
func (w *world) run(bare *core.Bare, h *hub.Hub) {
	home, stopHome := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = bare.Run(home) })
	group.Go(func() { _ = h.Run(home) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.edge.Run(ctx) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	w.t.Cleanup(func() {
		_ = w.dialer.Close()
		if err := w.stop(); err != nil {
			w.t.Errorf("edge: %v", err)
		}
		stopHome()
		group.Wait()
	})
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// listenBoth takes one port number of TCP and UDP.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		l := listenTCP(t)
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, u
		}
		l.Close()
	}
	t.Fatal("no port is free for TCP and UDP alike")
	return nil, nil
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// token returns a token for subject; without capabilities it may do everything in demo and
// small.
func (w *world) token(subject string, capabilities map[string][]string) string {
	w.t.Helper()
	if capabilities == nil {
		all := []string{"publish", "subscribe", "history"}
		capabilities = map[string][]string{"demo:*": all, "small:*": all, "nowhere:*": all}
	}
	s, err := w.signer.Sign(token.Claims{Issuer: testIssuer, Audience: testAudience, Subject: subject, Capabilities: capabilities})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// connect opens a session and says Hello on it.
func (w *world) connect(carrier relay.Carrier, tok string) (*link.Link, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	s, err := w.session(ctx, carrier)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return link.Connect(ctx, link.Config{Session: s, Token: tok, Agent: "test", Lanes: 64})
}

// session opens one and says nothing.
func (w *world) session(ctx context.Context, carrier relay.Carrier) (relay.Session, error) {
	if carrier == relay.WebSocket {
		return w.dialer.WebSocket(ctx, "wss://"+w.addr+transport.SessionPath)
	}
	return w.dialer.WebTransport(ctx, "https://"+w.addr+transport.SessionPath)
}

func (w *world) mustConnect(carrier relay.Carrier, tok string) *link.Link {
	w.t.Helper()
	l, err := w.connect(carrier, tok)
	if err != nil {
		w.t.Fatalf("connect over %s: %v", carrier, err)
	}
	w.t.Cleanup(func() { l.Close(relay.Done, "") })
	return l
}

// client returns an HTTP client of the edge.
func (w *world) client(http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}, ForceAttemptHTTP2: http2}
	if !http2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// client3 returns one over HTTP/3.
func (w *world) client3() *http.Client {
	return &http.Client{Transport: w.dialer.HTTP3(), Timeout: 30 * time.Second}
}

// publish publishes and waits for the answer.
func publish(t *testing.T, up relay.Upstream, p relay.Publication) (relay.Position, relay.End) {
	t.Helper()
	type reply struct {
		at  relay.Position
		end relay.End
	}
	replies := make(chan reply, 1)
	if err := up.Publish(p, func(at relay.Position, end relay.End) { replies <- reply{at, end} }); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-replies:
		return r.at, r.end
	case <-time.After(20 * time.Second):
		t.Fatal("no answer to a publish within 20 s")
		return relay.Position{}, relay.End{}
	}
}
