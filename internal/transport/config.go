package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

// SessionPath is where WebTransport and WebSocket sessions are opened.
const SessionPath = "/v1/session"

// Subprotocol is the WebSocket subprotocol.
const Subprotocol = "meridian.v1"

// ALPN is the protocol of QUIC sessions.
const ALPN = "meridian/1"

// times are a connection's own signs of life.
type times struct{ idle, keepAlive time.Duration }

// A Window bounds what a peer may send before it is read. The zero Window is the default of
// whoever has it.
type Window struct {
	Stream        uint64 // bytes of one stream, to begin with; 0: 32 KiB on a server, 256 KiB on a dialer
	MaxStream     uint64 // bytes it may grow to; 0: 1 MiB on a server, 4 MiB on a dialer
	Connection    uint64 // bytes of all streams, to begin with; 0: 64 KiB on a server, 512 KiB on a dialer
	MaxConnection uint64 // bytes they may grow to; 0: 2 MiB on a server, 8 MiB on a dialer
}

func (w Window) or(d Window) Window {
	return Window{
		Stream:        cmp.Or(w.Stream, d.Stream),
		MaxStream:     max(cmp.Or(w.MaxStream, d.MaxStream), w.Stream),
		Connection:    cmp.Or(w.Connection, d.Connection),
		MaxConnection: max(cmp.Or(w.MaxConnection, d.MaxConnection), w.Connection),
	}
}

var (
	serverWindow = Window{Stream: 32 << 10, MaxStream: 1 << 20, Connection: 64 << 10, MaxConnection: 2 << 20}
	dialerWindow = Window{Stream: 256 << 10, MaxStream: 4 << 20, Connection: 512 << 10, MaxConnection: 8 << 20}
)

// A ServerConfig configures a Server. TLS, PacketConn and Serve are needed; with Plain alone, only
// Serve is.
type ServerConfig struct {
	TLS        *tls.Config    // certificates, by GetCertificate where they change; the rest is set here
	PacketConn net.PacketConn // for HTTP/3 and WebTransport; nil: none
	Listener   net.Listener   // TCP, the same port number; nil: none
	Plain      net.Listener   // plain HTTP and WebSocket, on loopback; nil: none

	// Handler serves every request that is not for a session; nil: 404.
	Handler http.Handler
	// Serve serves a session, on a goroutine of its own; the session is closed when it returns.
	// ctx is the session's. welcomed is called after a valid Hello.
	Serve func(ctx context.Context, s relay.Session, welcomed func())
	// Origins says whether a page of this origin may open a session; nil: only one of the host
	// that was asked. A request without an Origin is not a browser's, and may.
	Origins func(origin string) bool

	HelloWithin          time.Duration // from a connection's first packet to welcomed; 0: 3 s
	MaxUnwelcomed        int           // connections that are not welcomed; 0: 2,000
	MaxUnwelcomedPerAddr int           // of them, per IPv4 address or IPv6 /64; 0: 64
	MaxHTTP              int           // connections that only make requests; 0: 2,000
	MaxHTTPPerAddr       int           // of them, per IPv4 address or IPv6 /64; 0: 256
	RetryAbove           int           // unfinished QUIC handshakes, above which an address must be proved; 0: 256; <0: always

	TokenKey, ResetKey *[32]byte // of address tokens and stateless resets; nil: random ones, which do not outlive the process

	Streams    int    // bidirectional streams that a client may have open; 0: 16
	UniStreams int    // unidirectional streams that a client may have open; 0: 4
	Window     Window // what a client may send; see there
	// WindowBudget bounds what all connections' windows grow by, in bytes; 0: 64 MiB.
	WindowBudget uint64
	// NoSessionFlowControl leaves WebTransport's own flow control out, above QUIC's. Safari
	// refuses a session without.
	NoSessionFlowControl bool

	IdleTimeout time.Duration // after which a silent peer is gone; 0: 40 s
	KeepAlive   time.Duration // between signs of life; 0: 15 s

	Log *slog.Logger // nil: none
}

func (c ServerConfig) complete() (ServerConfig, error) {
	if c.Serve == nil {
		return c, errors.New("transport: Serve is nil; give a function that serves a session")
	}
	if c.PacketConn == nil && c.Listener == nil && c.Plain == nil {
		return c, errors.New("transport: no PacketConn, Listener or Plain; give at least one")
	}
	if c.TLS == nil && (c.PacketConn != nil || c.Listener != nil) {
		return c, errors.New("transport: TLS is nil; PacketConn and Listener need certificates")
	}
	if c.Handler == nil {
		c.Handler = http.NotFoundHandler()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.HelloWithin = cmp.Or(c.HelloWithin, 3*time.Second)
	c.MaxUnwelcomed = cmp.Or(c.MaxUnwelcomed, 2000)
	c.MaxUnwelcomedPerAddr = cmp.Or(c.MaxUnwelcomedPerAddr, 64)
	c.MaxHTTP = cmp.Or(c.MaxHTTP, 2000)
	c.MaxHTTPPerAddr = cmp.Or(c.MaxHTTPPerAddr, 256)
	c.RetryAbove = max(0, cmp.Or(c.RetryAbove, 256))
	c.Streams = cmp.Or(c.Streams, 16)
	c.UniStreams = cmp.Or(c.UniStreams, 4)
	c.Window = c.Window.or(serverWindow)
	c.WindowBudget = cmp.Or(c.WindowBudget, 64<<20)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 40*time.Second)
	c.KeepAlive = cmp.Or(c.KeepAlive, 15*time.Second)
	return c, nil
}

// Streams of HTTP/3 itself, beside a session's own.
const (
	httpBidi = 4 // the CONNECT request, and room to refuse a second and to answer requests
	httpUni  = 4 // control, two of QPACK, and one that means nothing
)

func (c *ServerConfig) quic(windows *windows) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:             c.HelloWithin, // the lobby ends one that goes on for longer
		MaxIdleTimeout:                   c.IdleTimeout,
		KeepAlivePeriod:                  c.KeepAlive,
		InitialStreamReceiveWindow:       c.Window.Stream,
		MaxStreamReceiveWindow:           c.Window.MaxStream,
		InitialConnectionReceiveWindow:   c.Window.Connection,
		MaxConnectionReceiveWindow:       c.Window.MaxConnection,
		AllowConnectionWindowIncrease:    windows.grow,
		MaxIncomingStreams:               int64(c.Streams + httpBidi),
		MaxIncomingUniStreams:            int64(c.UniStreams + httpUni),
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true,
	}
}

// session returns the session flow control. Its data window is the connection's largest: QUIC's
// own, smaller to begin with, is what bounds memory.
func (c *ServerConfig) session() *webtransport.Config {
	if c.NoSessionFlowControl {
		return nil
	}
	return &webtransport.Config{
		MaxIncomingStreams:    int64(c.Streams),
		MaxIncomingUniStreams: int64(c.UniStreams),
		MaxIncomingData:       int64(c.Window.MaxConnection),
	}
}
