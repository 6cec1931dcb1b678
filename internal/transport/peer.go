package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/meridian-relay/meridian/relay"
)

// A PeerConfig configures a PeerServer. TLS, PacketConn and Serve are needed.
type PeerConfig struct {
	TLS        *tls.Config // certificate, and ClientCAs: the authority of the fleet
	PacketConn net.PacketConn
	// Serve serves a session, on a goroutine of its own; the session is closed when it returns.
	// ctx is the session's.
	Serve func(ctx context.Context, s relay.Session)
	// Also serves sessions of further ALPNs on the same socket, as Serve does those of ALPN.
	Also map[string]func(ctx context.Context, s relay.Session)

	RetryAbove         int       // unfinished handshakes, above which an address must be proved; 0: 64; <0: always
	MaxHandshakes      int       // unfinished handshakes, above which more are refused; 0: 1,000
	TokenKey, ResetKey *[32]byte // as in ServerConfig

	Streams    int    // bidirectional streams that a peer may have open; 0: 256
	UniStreams int    // unidirectional streams that a peer may have open; 0: 1,024
	Window     Window // what a peer may send; as a dialer's

	IdleTimeout time.Duration // after which a silent peer is gone; 0: 40 s
	KeepAlive   time.Duration // between signs of life; 0: 15 s

	Log *slog.Logger // nil: none
}

// A PeerServer serves sessions over QUIC to processes of the fleet, which prove who they are by a
// certificate.
type PeerServer struct {
	// set at construction
	config  PeerConfig
	tasks   tasks
	started atomic.Bool

	handshaking atomic.Int64
	logged      atomic.Int64  // when a refusal was, Unix nanoseconds
	unlogged    atomic.Uint64 // refusals since
}

// NewPeerServer checks the configuration.
func NewPeerServer(c PeerConfig) (*PeerServer, error) {
	if c.TLS == nil || c.TLS.ClientCAs == nil {
		return nil, errors.New("transport: TLS.ClientCAs is nil; give the authority that signs the fleet's certificates")
	}
	if c.PacketConn == nil || c.Serve == nil {
		return nil, errors.New("transport: a PeerServer needs PacketConn and Serve")
	}
	c.RetryAbove = max(0, cmp.Or(c.RetryAbove, 64))
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, 1000)
	c.Streams = cmp.Or(c.Streams, 256)
	c.UniStreams = cmp.Or(c.UniStreams, 1024)
	c.Window = c.Window.or(dialerWindow)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 40*time.Second)
	c.KeepAlive = cmp.Or(c.KeepAlive, 15*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &PeerServer{config: c}, nil
}

// Run serves until ctx is done or the socket fails. It closes every session with GoingAway, and
// the socket, and returns when all that it started has ended. It may be called once.
func (s *PeerServer) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("transport: Run was called twice")
	}
	carrier := newCarrier(s.config.PacketConn, s.config.TokenKey, s.config.ResetKey)
	carrier.VerifySourceAddress = func(net.Addr) bool {
		return s.handshaking.Load() >= int64(s.config.RetryAbove)
	}
	carrier.ConnContext = s.admit
	defer s.config.PacketConn.Close()
	defer carrier.Close()

	conf := s.config.TLS.Clone()
	conf.NextProtos = append([]string{ALPN}, slices.Sorted(maps.Keys(s.config.Also))...)
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	// Not ListenEarly: it hands connections over before the client's certificate was seen.
	ln, err := carrier.Listen(conf, &quic.Config{
		MaxIdleTimeout:                   s.config.IdleTimeout,
		KeepAlivePeriod:                  s.config.KeepAlive,
		InitialStreamReceiveWindow:       s.config.Window.Stream,
		MaxStreamReceiveWindow:           s.config.Window.MaxStream,
		InitialConnectionReceiveWindow:   s.config.Window.Connection,
		MaxConnectionReceiveWindow:       s.config.Window.MaxConnection,
		MaxIncomingStreams:               int64(s.config.Streams),
		MaxIncomingUniStreams:            int64(s.config.UniStreams),
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true,
	})
	if err != nil {
		return fmt.Errorf("listen for peers on %v: %w", s.config.PacketConn.LocalAddr(), err)
	}
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			s.tasks.Wait()
			_ = ln.Close()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept peers on %v: %w", s.config.PacketConn.LocalAddr(), err)
		}
		if shake, ok := conn.Context().Value(shakeKey{}).(*atomic.Bool); ok {
			s.shaken(shake)
		}
		s.tasks.Go(func() { s.serve(ctx, conn) })
	}
}

type shakeKey struct{}

// admit counts unfinished handshakes.
func (s *PeerServer) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if s.handshaking.Load() >= int64(s.config.MaxHandshakes) {
		return nil, errTooMany
	}
	shake := new(atomic.Bool)
	shake.Store(true)
	s.handshaking.Add(1)
	context.AfterFunc(ctx, func() {
		if s.shaken(shake) {
			s.refused(info.RemoteAddr, context.Cause(ctx))
		}
	})
	return context.WithValue(ctx, shakeKey{}, shake), nil
}

// shaken notes that a handshake is over; false: it was noted before.
func (s *PeerServer) shaken(shake *atomic.Bool) bool {
	if !shake.CompareAndSwap(true, false) {
		return false
	}
	s.handshaking.Add(-1)
	return true
}

// refused logs a handshake that came to nothing, such as one with a stranger's certificate: at
// most one in refusalEvery, so that nobody fills the log.
func (s *PeerServer) refused(addr net.Addr, why error) {
	now, last := time.Now().UnixNano(), s.logged.Load()
	if now-last < int64(refusalEvery) || !s.logged.CompareAndSwap(last, now) {
		s.unlogged.Add(1)
		return
	}
	s.config.Log.Warn("handshake with a peer failed", "addr", addr, "error", why, "more", s.unlogged.Swap(0))
}

const refusalEvery = 10 * time.Second

func (s *PeerServer) serve(ctx context.Context, conn *quic.Conn) {
	peer := relay.Peer{Carrier: relay.QUIC, Addr: addrPort(conn.RemoteAddr())}
	state := conn.ConnectionState().TLS
	if certs := state.PeerCertificates; len(certs) > 0 {
		peer.Names = names(certs[0])
	}
	serve := s.config.Serve
	if also := s.config.Also[state.NegotiatedProtocol]; also != nil {
		serve = also
	}
	session := newQUICSession(conn, peer, &s.tasks)
	stop := context.AfterFunc(ctx, func() { session.Close(relay.GoingAway, "the node is stopping") })
	defer stop()
	serve(session.Context(), session)
	session.Close(relay.Done, "")
}
