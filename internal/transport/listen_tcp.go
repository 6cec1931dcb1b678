package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/meridian-relay/meridian/relay"
)

// maxRequests is how many requests of one connection are served at a time.
const maxRequests = 16

func allowed(*http.Request) bool { return true }

// serveTCP serves HTTP and WebSocket on ln. run ends when halt is called.
func (s *Server) serveTCP(ln net.Listener, secure bool) (run func() error, halt func()) {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.config.HelloWithin,
		ReadTimeout:       readWithin,
		WriteTimeout:      writeWithin,
		IdleTimeout:       idleHTTP,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxRequests},
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if t, ok := c.(*tls.Conn); ok {
				c = t.NetConn()
			}
			tcp := c.(*lobbyConn)
			ctx = context.WithValue(ctx, guestKey{}, tcp.guest)
			return context.WithValue(ctx, tcpConnKey{}, tcp.tcpConn)
		},
	}
	if secure {
		server.TLSConfig = s.config.TLS.Clone()
		server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	}
	run = func() error {
		var err error
		if l := (&lobbyListener{ln, s.lobby}); secure {
			err = server.ServeTLS(l, "", "")
		} else {
			err = server.Serve(l)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve HTTP on %v: %w", ln.Addr(), err)
	}
	halt = func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainHTTP)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
	return run, halt
}

// A lobbyListener admits connections as guests.
type lobbyListener struct {
	net.Listener
	lobby *lobby
}

type lobbyConn struct {
	*tcpConn
	guest *guest
}

func (l *lobbyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := l.lobby.enter(addrPort(c.RemoteAddr()))
		if g == nil {
			_ = c.Close()
			continue
		}
		tcp := newTCPConn(c, g.gone)
		g.accepted(func(relay.Code, string) { _ = tcp.Close() })
		return &lobbyConn{tcp, g}, nil
	}
}
