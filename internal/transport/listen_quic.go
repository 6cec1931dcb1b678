package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

const (
	// connIDLen lets a load balancer put a server's number into connection IDs later.
	connIDLen = 8
	maxHeader = 32 << 10 // bytes of a request's header; a bearer token may have 16 KiB
	// idleHTTP is how long a connection without a session may be without a request.
	idleHTTP    = time.Minute
	readWithin  = 30 * time.Second // of a request's body
	writeWithin = time.Minute      // of a response
)

var errTooMany = errors.New("too many connections wait for their Hello")

// listenQUIC opens HTTP/3 on the packet connection. run accepts until halt is called.
func (s *Server) listenQUIC() (run func() error, halt func(), err error) {
	s.carrier = newCarrier(s.config.PacketConn, s.config.TokenKey, s.config.ResetKey)
	s.carrier.VerifySourceAddress = func(net.Addr) bool {
		if s.lobby.handshakeCount.Load() < int64(s.lobby.retryAbove) {
			return false
		}
		s.counters.retries.Add(1)
		return true
	}
	s.carrier.ConnContext = s.admitQUIC

	s.h3 = &webtransport.Server{
		H3: &http3.Server{
			Handler:        s,
			MaxHeaderBytes: maxHeader,
			IdleTimeout:    idleHTTP,
			Logger:         slog.New(slog.DiscardHandler),
			ConnContext: func(ctx context.Context, conn *quic.Conn) context.Context {
				return context.WithValue(ctx, quicConnKey{}, conn)
			},
		},
		Config:            s.config.session(),
		ReorderingTimeout: s.config.HelloWithin,
	}
	// Upgrade judges the origin by this, but ours has done so.
	s.h3.CheckOrigin = allowed

	ln, err := s.carrier.ListenEarly(http3.ConfigureTLSConfig(s.config.TLS), s.config.quic(&s.lobby.windows))
	if err != nil {
		return nil, nil, fmt.Errorf("listen for QUIC on %v: %w", s.config.PacketConn.LocalAddr(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var conns tasks
	run = func() error {
		for {
			conn, err := ln.Accept(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("accept QUIC on %v: %w", ln.Addr(), err)
			}
			conns.Go(func() { s.serveQUIC(conn) })
		}
	}
	halt = func() {
		cancel()
		s.tasks.Wait() // sessions are being closed: let their last words leave
		_ = ln.Close()
		_ = s.h3.Close()
		conns.Wait()
	}
	return run, halt, nil
}

// newCarrier makes the transport under a server's connections.
func newCarrier(conn net.PacketConn, tokenKey, resetKey *[32]byte) *quic.Transport {
	t := &quic.Transport{Conn: conn, ConnectionIDLength: connIDLen}
	if tokenKey != nil {
		t.TokenGeneratorKey = (*quic.TokenGeneratorKey)(tokenKey)
	}
	if resetKey != nil {
		t.StatelessResetKey = (*quic.StatelessResetKey)(resetKey)
	}
	return t
}

// admitQUIC makes a guest of a connection's first packet.
func (s *Server) admitQUIC(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	g := s.lobby.enter(addrPort(info.RemoteAddr))
	if g == nil {
		return nil, errTooMany // the client sees CONNECTION_REFUSED
	}
	g.shaking.Store(true)
	s.lobby.handshakeCount.Add(1)
	context.AfterFunc(ctx, func() {
		g.gone()
		g.handshaken()
	})
	return context.WithValue(ctx, guestKey{}, g), nil
}

// serveQUIC serves one connection until it ends.
func (s *Server) serveQUIC(conn *quic.Conn) {
	guestOf(conn.Context()).accepted(func(code relay.Code, reason string) {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(connCode+uint64(code)), clipReason(reason))
	})
	if err := s.h3.ServeQUICConn(conn); err != nil {
		s.config.Log.Debug("connection ended", "peer", conn.RemoteAddr(), "error", err)
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		p = a.AddrPort()
	case *net.TCPAddr:
		p = a.AddrPort()
	default:
		p, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
