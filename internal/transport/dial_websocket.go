package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/meridian-relay/meridian/relay"
)

// WebSocket opens a session at a wss or ws URL; https and http mean the same.
func (d *Dialer) WebSocket(ctx context.Context, rawURL string) (relay.Session, error) {
	var tcp *tcpConn // of the only connection that is dialed
	secure := d.config.TLS.Clone()
	secure.NextProtos = []string{"http/1.1"}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   secure,
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				tcp = newTCPConn(c, nil)
				return tcp, nil
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ws, rsp, err := websocket.Dial(ctx, rawURL, &websocket.DialOptions{
		HTTPClient:   client,
		HTTPHeader:   d.config.Header,
		Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		if rsp != nil {
			return nil, statusError(rawURL, rsp.StatusCode, err)
		}
		return nil, fmt.Errorf("dial %s: %w", rawURL, err)
	}
	if got := ws.Subprotocol(); !strings.EqualFold(got, Subprotocol) {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("dial %s: the server speaks subprotocol %q, not %q", rawURL, got, Subprotocol)
	}
	peer := relay.Peer{Carrier: relay.WebSocket, Addr: addrPort(tcp.RemoteAddr())}
	if rsp.TLS != nil {
		peer.Names = d.names(*rsp.TLS)
	}
	t := times{idle: d.config.IdleTimeout, keepAlive: d.config.KeepAlive}
	return d.keep(newWSSession(ws, tcp, peer, true, t, &d.tasks))
}
