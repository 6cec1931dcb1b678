package transport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

// mute serves sessions that never say Hello.
func mute(c *ServerConfig) {
	c.Serve = func(ctx context.Context, _ relay.Session, _ func()) { <-ctx.Done() }
}

func mustRefuse(t *testing.T, err error, code relay.Code) {
	t.Helper()
	if e, ok := errors.AsType[*relay.Error](err); !ok || e.End.Code != code {
		t.Fatalf("error %v (%T); want %v", err, err, code)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after 5 s: %s", what)
		}
	}
}

func TestHelloTimeout(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { mute(c); c.HelloWithin = 500 * time.Millisecond })
	d := s.dialer(nil)
	wt, err := d.WebTransport(soon(t), s.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	ws, err := d.WebSocket(soon(t), s.url("wss"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []relay.Session{wt, ws} {
		e, ok := errors.AsType[*relay.CloseError](ended(t, c))
		if !ok || e.Code != relay.HelloTimeout || !e.Remote {
			t.Errorf("%v: %v", c.Peer().Carrier, e)
		}
	}
	// Who never asks for a session is ended as well.
	tcp, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_ = tcp.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := tcp.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a mute TCP connection: %v", err)
	}
	conn := s.bareHTTP3(d)
	receive(t, conn.Context().Done())
	if e := closed(context.Cause(conn.Context())); e.Code != relay.HelloTimeout || !e.Remote {
		t.Errorf("a mute QUIC connection: %v", e)
	}
	eventually(t, "nobody is unwelcomed", func() bool { return s.server.Stats().Unwelcomed == 0 })
	// The mute TCP connection may fall to the TLS handshake's own limit.
	if got := s.server.Stats().Late; got < 3 || got > 4 {
		t.Errorf("%d were late; want 4", got)
	}
}

// bareHTTP3 opens an HTTP/3 connection and asks for nothing.
func (s *stage) bareHTTP3(d *Dialer) *quic.Conn {
	s.t.Helper()
	conn, err := d.dial(soon(s.t), s.addr, http3.NextProtoH3, d.quic(0, httpUni))
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func TestWelcomedStays(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { c.HelloWithin = 700 * time.Millisecond })
	d := s.dialer(nil)
	c, err := d.WebTransport(soon(t), s.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(900 * time.Millisecond)
	if err := context.Cause(c.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestTooManyUnwelcomed(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*ServerConfig){
		"in all":      func(c *ServerConfig) { c.MaxUnwelcomed = 3 },
		"per address": func(c *ServerConfig) { c.MaxUnwelcomedPerAddr = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func(c *ServerConfig) { mute(c); c.HelloWithin = time.Minute; edit(c) })
			d := s.dialer(nil)
			var open []relay.Session
			for range 2 {
				c, err := d.WebTransport(soon(t), s.url("https"))
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, c)
			}
			if _, err := d.WebSocket(soon(t), s.url("wss")); err != nil {
				t.Fatal(err)
			}
			_, err := d.WebTransport(soon(t), s.url("https"))
			mustRefuse(t, err, relay.TooManyConnections)
			if _, err := d.WebSocket(soon(t), s.url("wss")); err == nil {
				t.Fatal("the fourth WebSocket was let in")
			}
			if got := s.server.Stats().Refused; got < 2 {
				t.Errorf("%d refused", got)
			}
			// Room again when one has left.
			open[0].Close(relay.Done, "")
			eventually(t, "there is room", func() bool { return s.server.Stats().Unwelcomed < 3 })
			if _, err := d.WebTransport(soon(t), s.url("https")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWelcomedDoNotCount(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { c.MaxUnwelcomed = 1 })
	d := s.dialer(nil)
	for i := range 10 {
		if _, err := d.WebTransport(soon(t), s.url("https")); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		s.next()
	}
	if got := s.server.Stats(); got.WebTransport != 10 || got.Unwelcomed != 0 || got.Handshaking != 0 {
		t.Errorf("%+v", got)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { c.RetryAbove = -1 })
	if _, err := s.dialer(nil).WebTransport(soon(t), s.url("https")); err != nil {
		t.Fatal(err)
	}
	if got := s.server.Stats().Retries; got == 0 {
		t.Error("no Retry was asked for")
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) {
		c.Origins = func(o string) bool { return o == "https://app.example" }
	})
	for origin, allowed := range map[string]bool{"https://app.example": true, "https://evil.example": false, "null": false} {
		d := s.dialer(func(c *DialerConfig) { c.Header = http.Header{"Origin": {origin}} })
		for _, dial := range []func() (relay.Session, error){
			func() (relay.Session, error) { return d.WebTransport(soon(t), s.url("https")) },
			func() (relay.Session, error) { return d.WebSocket(soon(t), s.url("wss")) },
		} {
			_, err := dial()
			if !allowed {
				mustRefuse(t, err, relay.OriginRefused)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.next().Peer().Origin; got != origin {
				t.Errorf("origin %q", got)
			}
		}
	}
}

func TestSameHostOrigin(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	if !s.server.allows("https://h:1", "h:1") || s.server.allows("https://h:1", "h:2") || s.server.allows("null", "h:2") {
		t.Error("without Origins, only a page of the same host is allowed")
	}
}

// A second session on a connection is refused, and does the first no harm.
func TestSecondSession(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	d := s.dialer(nil)
	conn := s.bareHTTP3(d)
	h3, err := (&webtransport.Transport{Config: d.wt.Config}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := h3.Dial(soon(t), s.url("https"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.next()
	rsp, _, err := h3.Dial(soon(t), s.url("https"), nil)
	if err == nil || rsp == nil || rsp.StatusCode != http.StatusConflict {
		t.Fatalf("the second: %v, %v", rsp, err)
	}
	if first.Context().Err() != nil || s.server.Stats().Seconds != 1 {
		t.Fatal("the first ended")
	}
	// The session's end is its connection's, though this client would keep it.
	_ = first.CloseWithError(0, "")
	receive(t, conn.Context().Done())
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	udp, err := net.Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	b := make([]byte, 1400)
	for i := range 500 {
		_, _ = rand.Read(b)
		if i%2 == 0 {
			copy(b, []byte{0xc0, 0, 0, 0, 1, 8}) // looks like an Initial
		}
		_, _ = udp.Write(b[:1+i*1399/500])
	}
	tcp, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.authority.pool, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_, _ = tcp.Write(b)
	_, _ = io.WriteString(tcp, "\r\n\r\n")
	if _, err := s.dialer(nil).WebTransport(soon(t), s.url("https")); err != nil {
		t.Fatal(err)
	}
	s.next()
}

func TestStop(t *testing.T) {
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
	s.next()
	s.next()
	s.stop()
	for _, c := range []relay.Session{wt, ws} {
		mustClose(t, ended(t, c), relay.CloseError{Code: relay.GoingAway, Reason: "the relay is stopping", Remote: true})
	}
}
