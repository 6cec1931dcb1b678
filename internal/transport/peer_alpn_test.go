package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// One socket serves several protocols, each with a function of its own.
func TestPeerProtocols(t *testing.T) {
	t.Parallel()
	others := make(chan relay.Session, 1)
	p := newPeerStage(t, func(c *PeerConfig) {
		c.Also = map[string]func(context.Context, relay.Session){
			"other/1": func(ctx context.Context, s relay.Session) { others <- s; <-ctx.Done() },
		}
	})
	if _, err := p.dialer(func(c *DialerConfig) { c.ALPN = "other/1" }).QUIC(soon(t), p.addr); err != nil {
		t.Fatal(err)
	}
	s := receive(t, others)
	if !slices.Contains(s.Peer().Names, "edge-7.example") {
		t.Errorf("names %q", s.Peer().Names)
	}
	if _, err := p.dialer(nil).QUIC(soon(t), p.addr); err != nil {
		t.Fatal(err)
	}
	receive(t, p.sessions)
	if _, err := p.dialer(func(c *DialerConfig) { c.ALPN = "third/1" }).QUIC(soon(t), p.addr); err == nil {
		t.Error("a protocol that nobody serves was accepted")
	}
}

// With AnyHost the authority is what counts, and the names are the caller's to judge.
func TestAnyHost(t *testing.T) {
	t.Parallel()
	fleet := newAuthority(t)
	p := newPeerStage(t, func(c *PeerConfig) {
		node := fleet.sign(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"node-1.example"}, []net.IP{net.IPv4(10, 9, 8, 7)}
		})
		c.TLS = &tls.Config{Certificates: []tls.Certificate{node}, ClientCAs: fleet.pool}
	})
	p.authority = fleet
	if _, err := p.dialer(nil).QUIC(soon(t), p.addr); err == nil {
		t.Error("a certificate for another host was accepted without AnyHost")
	}
	s, err := p.dialer(func(c *DialerConfig) { c.AnyHost = true }).QUIC(soon(t), p.addr)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.Peer().Names, "node-1.example") {
		t.Errorf("names %q", s.Peer().Names)
	}
	stranger := newAuthority(t)
	d := p.dialer(func(c *DialerConfig) { c.AnyHost = true; c.TLS.RootCAs = stranger.pool })
	if _, err := d.QUIC(soon(t), p.addr); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a certificate of a strange authority: %v", err)
	}
}

// Both sides log a handshake that fails.
func TestPeerRefusalIsLogged(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{wrote: make(chan struct{}, 1)}
	p := newPeerStage(t, func(c *PeerConfig) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	stranger := newAuthority(t).sign(t, nil)
	d := p.dialer(func(c *DialerConfig) {
		c.TLS.Certificates = nil
		c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	})
	if s, err := d.QUIC(soon(t), p.addr); err == nil {
		_ = ended(t, s)
	}
	receive(t, log.wrote)
	if text := log.String(); !strings.Contains(text, "unknown authority") {
		t.Errorf("log:\n%s", text)
	}
}

type lockedBuffer struct {
	wrote chan struct{}

	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
