package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"math/big"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// An authority signs certificates for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate; edit changes its template.
func (a *authority) sign(t testing.TB, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(12 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A stage is a running Server, and what tests need of it.
type stage struct {
	t         testing.TB
	authority *authority
	cert      tls.Certificate
	server    *Server
	addr      string             // HOST:PORT, UDP and TCP
	plain     string             // HOST:PORT
	sessions  chan relay.Session // accepted; each lives until the test ends
	stop      func()             // ends Run and waits
}

// newStage runs a Server; edit changes its configuration. Unless Serve is set, sessions are
// welcomed at once.
func newStage(t testing.TB, edit func(*ServerConfig)) *stage {
	t.Helper()
	a := newAuthority(t)
	s := &stage{t: t, authority: a, cert: a.sign(t, nil), sessions: make(chan relay.Session, 64)}
	tcp, udp := listenBoth(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.plain = tcp.Addr().String(), plain.Addr().String()
	c := ServerConfig{
		TLS:        &tls.Config{Certificates: []tls.Certificate{s.cert}},
		PacketConn: udp, Listener: tcp, Plain: plain,
		Serve: func(ctx context.Context, session relay.Session, welcomed func()) {
			welcomed()
			s.sessions <- session
			<-ctx.Done()
		},
	}
	if edit != nil {
		edit(&c)
	}
	s.server, err = NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	s.stop = run(t, s.server.Run)
	return s
}

// listenBoth listens on the same port number of TCP and UDP.
func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	var last error
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		last = err
		_ = tcp.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// run runs f until the test ends or stop is called.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run has not ended after 10 s")
		}
	}
	t.Cleanup(stop)
	return stop
}

// dialer makes a Dialer that trusts the stage.
func (s *stage) dialer(edit func(*DialerConfig)) *Dialer {
	s.t.Helper()
	return newTestDialer(s.t, s.authority, edit)
}

func newTestDialer(t testing.TB, a *authority, edit func(*DialerConfig)) *Dialer {
	t.Helper()
	c := DialerConfig{TLS: &tls.Config{RootCAs: a.pool}}
	if edit != nil {
		edit(&c)
	}
	d, err := NewDialer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (s *stage) url(scheme string) string {
	return (&url.URL{Scheme: scheme, Host: s.addr, Path: SessionPath}).String()
}

// next returns the session that the server has accepted.
func (s *stage) next() relay.Session { return receive(s.t, s.sessions) }

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came within 5 s")
		panic("unreachable")
	}
}

func hashOf(c tls.Certificate) [32]byte { return sha256.Sum256(c.Certificate[0]) }

// soon is a context for what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Most tests wait for the network, not for a processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
