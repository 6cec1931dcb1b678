package transport

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"

	"github.com/meridian-relay/meridian/relay"
)

type (
	quicConnKey struct{} // of a request's context: *quic.Conn
	tcpConnKey  struct{} // of a request's context: *tcpConn
)

// openSession answers a request for a session.
func (s *Server) openSession(w http.ResponseWriter, r *http.Request, g *guest) {
	extended := r.Method == http.MethodConnect && strings.HasPrefix(r.Proto, "webtransport")
	upgrade := r.ProtoMajor == 1 && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	if !extended && !upgrade {
		if r.ProtoMajor == 1 { // the others forbid this field
			w.Header().Set("Upgrade", "websocket")
		}
		http.Error(w, "a session is opened by WebTransport, or by WebSocket over HTTP/1.1", http.StatusUpgradeRequired)
		return
	}
	origin := r.Header.Get("Origin")
	if !s.allows(origin, r.Host) {
		s.counters.origins.Add(1)
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	if upgrade && !offers(r.Header, Subprotocol) {
		http.Error(w, "the subprotocol is "+Subprotocol, http.StatusBadRequest)
		return
	}
	switch g.upgrade() {
	case relay.TooManySessions:
		s.counters.seconds.Add(1)
		http.Error(w, "one session per connection", http.StatusConflict)
		return
	case relay.TooManyConnections:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many connections wait for their Hello", http.StatusServiceUnavailable)
		return
	}
	peer := relay.Peer{Origin: origin}
	peer.Addr, _ = netip.ParseAddrPort(r.RemoteAddr)
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		peer.Names = names(r.TLS.PeerCertificates[0])
	}
	if extended {
		s.openWebTransport(w, r, g, peer)
	} else {
		s.openWebSocket(w, r, g, peer)
	}
}

// allows reports whether a page of the origin may open a session on the host.
func (s *Server) allows(origin, host string) bool {
	if origin == "" {
		return true
	}
	if s.config.Origins != nil {
		return s.config.Origins(origin)
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

func offers(h http.Header, protocol string) bool {
	for _, line := range h.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == protocol {
				return true
			}
		}
	}
	return false
}

func (s *Server) openWebTransport(w http.ResponseWriter, r *http.Request, g *guest, peer relay.Peer) {
	conn := r.Context().Value(quicConnKey{}).(*quic.Conn)
	wt, err := s.h3.Upgrade(w, r)
	if err != nil {
		s.config.Log.Debug("webtransport refused", "peer", peer.Addr, "error", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	peer.Carrier = relay.WebTransport
	// The request's goroutine, whose stack has grown, ends here; the session gets a fresh one.
	s.serve(newWTSession(wt, conn, peer, &s.tasks), g, &s.counters.webTransport)
}

func (s *Server) openWebSocket(w http.ResponseWriter, r *http.Request, g *guest, peer relay.Peer) {
	tcp := r.Context().Value(tcpConnKey{}).(*tcpConn)
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // allows has judged the origin
	})
	if err != nil {
		s.config.Log.Debug("websocket refused", "peer", peer.Addr, "error", err)
		return
	}
	peer.Carrier = relay.WebSocket
	t := times{idle: s.config.IdleTimeout, keepAlive: s.config.KeepAlive}
	s.serve(newWSSession(ws, tcp, peer, false, t, &s.tasks), g, &s.counters.webSocket)
}
