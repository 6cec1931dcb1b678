package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A pair is two ends of one session.
type pair struct {
	client, server relay.Session
	vanish         func()          // takes the client's socket away, without a word
	ended          <-chan struct{} // closed when the connection under server has ended; nil: not seen here
}

// A carrierCase opens pairs on one carrier. What the carrier can:
type carrierCase struct {
	name      relay.Carrier
	many      bool // more than one stream, also unidirectional
	datagrams bool
	open      func(t *testing.T) pair
	variant   bool // of another: what takes long is left to that
}

const testIdle = time.Second

func quicken(c *ServerConfig) { c.IdleTimeout, c.KeepAlive = testIdle, testIdle/4 }

func carriers() []carrierCase {
	webTransport := func(edit func(*DialerConfig)) func(t *testing.T) pair {
		return func(t *testing.T) pair {
			s := newStage(t, quicken)
			d := s.dialer(edit)
			c, err := d.WebTransport(soon(t), s.url("https"))
			if err != nil {
				t.Fatal(err)
			}
			srv := s.next()
			return pair{c, srv, func() { _ = d.config.PacketConn.Close() }, srv.(*wtSession).conn.Context().Done()}
		}
	}
	return []carrierCase{
		{relay.WebTransport, true, true, webTransport(nil), false},
		{"webtransport, no session flow control", true, true, webTransport(func(c *DialerConfig) { c.NoSessionFlowControl = true }), true},
		{relay.WebSocket, false, false, func(t *testing.T) pair {
			s := newStage(t, quicken)
			c, err := s.dialer(nil).WebSocket(soon(t), s.url("wss"))
			if err != nil {
				t.Fatal(err)
			}
			return pair{c, s.next(), func() { _ = c.(*wsSession).tcp.Conn.Close() }, nil}
		}, false},
		{"websocket, plain", false, false, func(t *testing.T) pair {
			s := newStage(t, quicken)
			c, err := s.dialer(nil).WebSocket(soon(t), "ws://"+s.plain+SessionPath)
			if err != nil {
				t.Fatal(err)
			}
			return pair{c, s.next(), func() { _ = c.(*wsSession).tcp.Conn.Close() }, nil}
		}, true},
		{relay.QUIC, true, true, func(t *testing.T) pair {
			p := newPeerStage(t, nil)
			d := p.dialer(nil)
			c, err := d.QUIC(soon(t), p.addr)
			if err != nil {
				t.Fatal(err)
			}
			srv := receive(t, p.sessions)
			return pair{c, srv, func() { _ = d.config.PacketConn.Close() }, srv.(*quicSession).conn.Context().Done()}
		}, false},
	}
}

// A peerStage is a running PeerServer.
type peerStage struct {
	t         testing.TB
	authority *authority
	server    *PeerServer
	addr      string
	sessions  chan relay.Session
	stop      func()
}

func newPeerStage(t testing.TB, edit func(*PeerConfig)) *peerStage {
	t.Helper()
	a := newAuthority(t)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peerStage{t: t, authority: a, addr: udp.LocalAddr().String(), sessions: make(chan relay.Session, 16)}
	node := a.sign(t, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "meridian", Host: "node-1"}} })
	c := PeerConfig{
		TLS:        &tls.Config{Certificates: []tls.Certificate{node}, ClientCAs: a.pool},
		PacketConn: udp,
		Serve: func(ctx context.Context, s relay.Session) {
			p.sessions <- s
			<-ctx.Done()
		},
		Streams: 16, UniStreams: 4, Window: serverWindow,
		IdleTimeout: testIdle, KeepAlive: testIdle / 4,
	}
	if edit != nil {
		edit(&c)
	}
	if p.server, err = NewPeerServer(c); err != nil {
		t.Fatal(err)
	}
	p.stop = run(t, p.server.Run)
	return p
}

func (p *peerStage) dialer(edit func(*DialerConfig)) *Dialer {
	p.t.Helper()
	edge := p.authority.sign(p.t, func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "meridian", Host: "edge-7"}}
		c.DNSNames = []string{"edge-7.example"}
	})
	return newTestDialer(p.t, p.authority, func(c *DialerConfig) {
		c.TLS.Certificates = []tls.Certificate{edge}
		if edit != nil {
			edit(c)
		}
	})
}

// TestSession runs every promise of relay.Session on every carrier.
func TestSession(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T, carrierCase){
		"half-close both ways":          testHalfClose,
		"reset with data in flight":     testReset,
		"stop":                          testStop,
		"many streams":                  testManyStreams,
		"stream limit":                  testStreamLimit,
		"streams before accept":         testStreamsBeforeAccept,
		"one stream":                    testOneStream,
		"accept gives up":               testAcceptGivesUp,
		"close by the client":           testCloseByClient,
		"close by the server":           testCloseByServer,
		"close wakes the blocked":       testCloseWakes,
		"close with an oversize reason": testCloseReason,
		"datagrams":                     testDatagrams,
		"identity":                      testIdentity,
		"write deadline and resume":     testWriteDeadline,
		"write deadline while blocked":  testWriteDeadlineWhileBlocked,
		"cancel while a write is stuck": testCancelStuckWrite,
		"read deadline":                 testReadDeadline,
		"peer vanishes":                 testVanish,
		"idle session stays":            testIdleStays,
		"a reader that does not read":   testUnreadStays,
		"everything written before FIN": testBulk,
	}
	for _, c := range carriers() {
		t.Run(string(c.name), func(t *testing.T) {
			t.Parallel()
			for name, f := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					f(t, c)
				})
			}
		})
	}
}
