package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A rig is a relay on loopback: a home in memory, a hub and real carriers.
type rig struct {
	t     testing.TB
	addr  string // HOST:PORT of UDP and TCP
	hash  [32]byte
	gate  func(token string) (*relay.Grant, relay.End)
	admit func(ch relay.Channel, bytes int) relay.End

	mu       sync.Mutex
	serving  map[*link.Server]relay.Session
	accepted atomic.Int64
}

// newRig starts a relay; edit may set its gate first.
func newRig(t testing.TB, edit func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, serving: map[*link.Server]relay.Session{}}
	r.gate = func(string) (*relay.Grant, relay.End) { return grant(0), relay.End{} }
	r.admit = func(relay.Channel, int) relay.End { return relay.End{} }
	if edit != nil {
		edit(r)
	}
	home, err := core.NewBare(core.BareConfig{
		Namespaces: map[relay.Namespace]channel.Policy{"demo": {Count: 1 << 20, Bytes: 1 << 30}},
		Log:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	fan := hub.New(hub.Config{Upstream: home})
	tcp, udp := listenBoth(t)
	r.addr = tcp.Addr().String()
	var cert tls.Certificate
	cert, r.hash = certificate(t)
	server, err := transport.NewServer(transport.ServerConfig{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, PacketConn: udp, Listener: tcp,
		Serve: func(ctx context.Context, s relay.Session, welcomed func()) { r.serve(ctx, s, fan, welcomed) },
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, home.Run)
	background(t, fan.Run)
	background(t, server.Run)
	return r
}

func (r *rig) serve(ctx context.Context, s relay.Session, up relay.Upstream, welcomed func()) {
	r.accepted.Add(1)
	server := link.NewServer(link.ServeConfig{
		Session: s, Upstream: up, Gate: rigGate{r}, Welcomed: welcomed,
		Welcome: &wire.Welcome{Edge: "edge-1", Region: "here"},
	})
	r.mu.Lock()
	r.serving[server] = s
	r.mu.Unlock()
	_ = server.Run(ctx)
	r.mu.Lock()
	delete(r.serving, server)
	r.mu.Unlock()
}

// kill ends every session, without a word if code is 0.
func (r *rig) kill() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.serving {
		s.Close(relay.LinkLost, "killed by the test")
		n++
	}
	return n
}

func (r *rig) servers() []*link.Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*link.Server
	for s := range r.serving {
		list = append(list, s)
	}
	return list
}

// dial connects a client; edit may change its configuration first.
func (r *rig) dial(edit func(*client.Config)) *client.Client {
	r.t.Helper()
	return r.dialAt("https://"+r.addr, edit)
}

func (r *rig) dialAt(url string, edit func(*client.Config)) *client.Client {
	r.t.Helper()
	cfg := client.Config{CertHashes: [][32]byte{r.hash}, BackoffLeast: 10 * time.Millisecond, BackoffMost: 100 * time.Millisecond}
	if edit != nil {
		edit(&cfg)
	}
	c, err := client.Dial(testContext(r.t), url, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

type rigGate struct{ r *rig }

func (g rigGate) Hello(token string) (*relay.Grant, relay.End) { return g.r.gate(token) }
func (g rigGate) Publish(ch relay.Channel, n int) relay.End    { return g.r.admit(ch, n) }
func (g rigGate) Subscribe(relay.Channel) relay.End            { return relay.End{} }
func (g rigGate) Unsubscribe(relay.Channel)                    {}

// grant allows everything, for so long; 0: for ever.
func grant(life time.Duration) *relay.Grant {
	g := &relay.Grant{Subject: "tester", Capabilities: []relay.Capability{
		{Pattern: "*", Actions: relay.ActSubscribe | relay.ActPublish | relay.ActHistory},
	}}
	if life > 0 {
		g.Expires = time.Now().Add(life)
	}
	return g
}

// testContext ends before the test is killed.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// background runs f until the test ends.
func background(t testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if udp, err := net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return tcp, udp
		}
		_ = tcp.Close()
	}
	t.Fatal("no port is free on UDP and TCP")
	return nil, nil
}

// certificate makes one that can be trusted by its hash.
func certificate(t testing.TB) (tls.Certificate, [32]byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rig"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, sha256.Sum256(der)
}
