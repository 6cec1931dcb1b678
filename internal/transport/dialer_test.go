package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/meridian-relay/meridian/relay"
)

func TestDialByHash(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	other := s.authority.sign(t, nil)
	trusting := s.dialer(func(c *DialerConfig) { c.TLS = nil; c.CertHashes = [][32]byte{hashOf(other), hashOf(s.cert)} })
	wrong := s.dialer(func(c *DialerConfig) { c.TLS = nil; c.CertHashes = [][32]byte{hashOf(other)} })
	roots := s.dialer(func(c *DialerConfig) { c.TLS = nil })
	for d, ok := range map[*Dialer]bool{trusting: true, wrong: false, roots: false} {
		if _, err := d.WebTransport(soon(t), s.url("https")); (err == nil) != ok {
			t.Errorf("WebTransport: %v", err)
		}
		if _, err := d.WebSocket(soon(t), s.url("wss")); (err == nil) != ok {
			t.Errorf("WebSocket: %v", err)
		}
	}
}

func TestCheckPinned(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	now := time.Now()
	fine := a.sign(t, nil)
	long := a.sign(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(maxPinned + time.Second) })
	past := a.sign(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	key, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	template := *fine.Leaf
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := x509.ParseCertificate(der)
	for name, leaf := range map[string]*x509.Certificate{"fine": fine.Leaf, "long": long.Leaf, "past": past.Leaf, "P-384": p384} {
		hash := hashOf(tls.Certificate{Certificate: [][]byte{leaf.Raw}})
		err := checkPinned(leaf, [][32]byte{hash}, now)
		if (err == nil) != (name == "fine") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that takes the connection and never answers does not hold Dial beyond its context.
func TestDialGivesUp(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	d := newTestDialer(t, newAuthority(t), nil)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.WebTransport(ctx, "https://"+udp.LocalAddr().String()+SessionPath); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WebTransport: %v", err)
	}
	if _, err := d.WebSocket(ctx, "wss://"+tcp.Addr().String()+SessionPath); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WebSocket: %v", err)
	}
}

func TestDialerCloseEndsSessions(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	d := s.dialer(nil)
	wt, err := d.WebTransport(soon(t), s.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	ws, err := d.WebSocket(soon(t), s.url("wss"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []relay.Session{wt, ws, s.next(), s.next()} {
		if e, ok := errors.AsType[*relay.CloseError](ended(t, c)); !ok || e.Code != relay.Done {
			t.Errorf("%v", e)
		}
	}
	if _, err := d.WebSocket(soon(t), s.url("wss")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Streams of a session may come before the request that opens it.
func TestStreamsBeforeSession(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	d := s.dialer(nil)
	conn := s.bareHTTP3(d)
	h3 := (&http3.Transport{EnableDatagrams: true}).NewClientConn(conn)
	receive(t, h3.ReceivedSettings())
	request, err := h3.OpenRequestStream(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	str, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	header := quicvarint.Append(nil, 0x41) // WT_STREAM
	header = quicvarint.Append(header, uint64(request.StreamID()))
	if _, err := str.Write(append(header, "early"...)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	u, _ := url.Parse(s.url("https"))
	err = request.SendRequestHeader(&http.Request{
		Method: http.MethodConnect, Proto: "webtransport", Host: u.Host, URL: u, Header: http.Header{},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.next().Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(got, b); err != nil || string(b) != "early" {
		t.Fatalf("%q, %v", b, err)
	}
}
