package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

// A DialerConfig configures a Dialer. The zero value dials with the system's roots.
type DialerConfig struct {
	TLS *tls.Config // roots, and a client certificate for QUIC; nil: the system's roots
	// CertHashes are SHA-256 hashes of certificates to trust instead of roots, under the rules
	// of serverCertificateHashes: at most 14 days, ECDSA P-256. None: roots.
	CertHashes [][32]byte
	// AnyHost trusts a server whose certificate the roots signed, whatever host it names: the
	// caller judges Peer.Names instead. For processes of a fleet, which have names of their own.
	AnyHost    bool
	PacketConn net.PacketConn // for all QUIC connections, closed by Close; nil: a UDP socket on a free port
	ALPN       string         // of QUIC sessions; "": ALPN
	Header     http.Header    // added to requests for WebTransport and WebSocket sessions

	Streams    int    // bidirectional streams that a server may have open; 0: 1; <0: none
	UniStreams int    // unidirectional streams that a server may have open; 0: 256; <0: none
	Window     Window // what a server may send; see there
	// NoSessionFlowControl leaves WebTransport's own flow control out, as Chromium does.
	NoSessionFlowControl bool

	IdleTimeout time.Duration // after which a silent peer is gone; 0: 40 s
	KeepAlive   time.Duration // between signs of life; 0: 15 s
}

// A Dialer opens sessions, and makes requests over HTTP/3. All its QUIC connections share one UDP socket.
type Dialer struct {
	// set at construction
	config   DialerConfig
	carrier  *quic.Transport
	wt       *webtransport.Transport
	requests *http3.Transport
	tokens   quic.TokenStore
	tasks    tasks

	mu       sync.Mutex
	sessions map[relay.Session]struct{} // nil: closed
}

// NewDialer opens the UDP socket.
func NewDialer(c DialerConfig) (*Dialer, error) {
	c.Streams = cmp.Or(c.Streams, 1)
	c.UniStreams = cmp.Or(c.UniStreams, 256)
	c.Window = c.Window.or(dialerWindow)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 40*time.Second)
	c.KeepAlive = cmp.Or(c.KeepAlive, 15*time.Second)
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	c.TLS = c.TLS.Clone()
	if len(c.CertHashes) > 0 {
		pin(c.TLS, c.CertHashes)
	} else if c.AnyHost {
		anyHost(c.TLS)
	}
	c.ALPN = cmp.Or(c.ALPN, ALPN)
	if c.PacketConn == nil {
		conn, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, fmt.Errorf("open a UDP socket: %w", err)
		}
		c.PacketConn = conn
	}
	d := &Dialer{
		config:  c,
		carrier: &quic.Transport{Conn: c.PacketConn},
		wt:      &webtransport.Transport{},
		tokens:  quic.NewLRUTokenStore(16, 4),

		sessions: make(map[relay.Session]struct{}),
	}
	d.requests = d.newRequests()
	if !c.NoSessionFlowControl {
		d.wt.Config = &webtransport.Config{
			MaxIncomingStreams:    int64(c.Streams),
			MaxIncomingUniStreams: int64(c.UniStreams),
			MaxIncomingData:       int64(c.Window.MaxConnection),
		}
	}
	return d, nil
}

// Close ends every session and request, and the socket. It takes at most about a second.
func (d *Dialer) Close() error {
	d.mu.Lock()
	sessions := d.sessions
	d.sessions = nil
	d.mu.Unlock()
	for s := range sessions {
		s.Close(relay.Done, "the dialer was closed")
	}
	d.tasks.Wait()
	err := errors.Join(d.requests.Close(), d.carrier.Close())
	return errors.Join(err, d.config.PacketConn.Close())
}

// keep notes a session, for Close.
func (d *Dialer) keep(s relay.Session) (relay.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions == nil {
		s.Close(relay.Done, "the dialer was closed")
		return nil, net.ErrClosed
	}
	d.sessions[s] = struct{}{}
	context.AfterFunc(s.Context(), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.sessions, s)
	})
	return s, nil
}

// quic returns the configuration of a connection that carries so many more streams than the
// session's.
func (d *Dialer) quic(bidi, uni int64) *quic.Config {
	more := func(n int, m int64) int64 {
		if sum := int64(max(n, 0)) + m; sum > 0 {
			return sum
		}
		return -1
	}
	return &quic.Config{
		MaxIdleTimeout:                   d.config.IdleTimeout,
		KeepAlivePeriod:                  d.config.KeepAlive,
		InitialStreamReceiveWindow:       d.config.Window.Stream,
		MaxStreamReceiveWindow:           d.config.Window.MaxStream,
		InitialConnectionReceiveWindow:   d.config.Window.Connection,
		MaxConnectionReceiveWindow:       d.config.Window.MaxConnection,
		MaxIncomingStreams:               more(d.config.Streams, bidi),
		MaxIncomingUniStreams:            more(d.config.UniStreams, uni),
		TokenStore:                       d.tokens,
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true,
	}
}

// dial opens a QUIC connection.
func (d *Dialer) dial(ctx context.Context, host, alpn string, conf *quic.Config) (*quic.Conn, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "443"
	}
	addr, err := resolve(ctx, name, port)
	if err != nil {
		return nil, err
	}
	secure := d.config.TLS.Clone()
	secure.NextProtos = []string{alpn}
	if secure.ServerName == "" {
		secure.ServerName = name
	}
	conn, err := d.carrier.Dial(ctx, addr, secure, conf)
	if err != nil {
		return nil, dialError(host, err)
	}
	return conn, nil
}

func resolve(ctx context.Context, name, port string) (*net.UDPAddr, error) {
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, name)
	if err != nil {
		return nil, err
	}
	best := ips[0]
	for _, ip := range ips { // an IPv4 address works wherever there is a network
		if ip.IP.To4() != nil {
			best = ip
			break
		}
	}
	return &net.UDPAddr{IP: best.IP, Port: n, Zone: best.Zone}, nil
}

// dialError says what a refused connection means.
func dialError(host string, err error) error {
	if e, ok := errors.AsType[*quic.TransportError](err); ok && e.ErrorCode == quic.ConnectionRefused {
		return &relay.Error{End: relay.End{Code: relay.TooManyConnections, Detail: host + " refused the connection"}}
	}
	if ce := closed(err); ce != nil && ce.Remote && ce.Code != relay.LinkLost {
		return &relay.Error{End: relay.End{Code: ce.Code, Detail: ce.Reason}}
	}
	return fmt.Errorf("dial %s: %w", host, err)
}

// statusError says what a refused session means.
func statusError(url string, status int, err error) error {
	switch status {
	case http.StatusForbidden:
		return &relay.Error{End: relay.End{Code: relay.OriginRefused, Detail: url}}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return &relay.Error{End: relay.End{Code: relay.TooManyConnections, Detail: url}}
	}
	return fmt.Errorf("dial %s: %w", url, err)
}

// WebTransport opens a session at an https URL.
func (d *Dialer) WebTransport(ctx context.Context, rawURL string) (relay.Session, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("dial %q: WebTransport needs https://HOST", rawURL)
	}
	conn, err := d.dial(ctx, u.Host, http3.NextProtoH3, d.quic(0, httpUni))
	if err != nil {
		return nil, err
	}
	hangUp := func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }
	// The library waits for the answer without looking at ctx.
	stop := context.AfterFunc(ctx, hangUp)
	h3, err := d.wt.NewClientConn(conn)
	if err != nil {
		stop()
		hangUp()
		return nil, fmt.Errorf("dial %s: %w", rawURL, err)
	}
	rsp, wt, err := h3.Dial(ctx, rawURL, d.config.Header)
	if !stop() {
		hangUp()
		return nil, fmt.Errorf("dial %s: %w", rawURL, context.Cause(ctx))
	}
	if err != nil {
		hangUp()
		if rsp != nil {
			return nil, statusError(rawURL, rsp.StatusCode, err)
		}
		return nil, dialError(rawURL, err)
	}
	peer := relay.Peer{Carrier: relay.WebTransport, Addr: addrPort(conn.RemoteAddr()), Names: d.names(conn.ConnectionState().TLS)}
	return d.keep(newWTSession(wt, conn, peer, &d.tasks))
}

// QUIC opens a session at HOST:PORT.
func (d *Dialer) QUIC(ctx context.Context, addr string) (relay.Session, error) {
	conn, err := d.dial(ctx, addr, d.config.ALPN, d.quic(0, 0))
	if err != nil {
		return nil, err
	}
	peer := relay.Peer{Carrier: relay.QUIC, Addr: addrPort(conn.RemoteAddr()), Names: d.names(conn.ConnectionState().TLS)}
	return d.keep(newQUICSession(conn, peer, &d.tasks))
}

// names returns the names of the server's certificate, if it was verified, by roots or by hash.
func (d *Dialer) names(state tls.ConnectionState) []string {
	certs := state.PeerCertificates
	if len(certs) == 0 || d.config.TLS.InsecureSkipVerify && len(d.config.CertHashes) == 0 && !d.config.AnyHost {
		return nil
	}
	return names(certs[0])
}
