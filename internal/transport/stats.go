package transport

import "sync/atomic"

// Stats counts what a Server did and holds.
type Stats struct {
	Unwelcomed   int    // connections that have not said Hello
	HTTP         int    // connections that made requests and hold no session
	Handshaking  int    // QUIC connections without a first request
	WebTransport int    // sessions
	WebSocket    int    // sessions
	Refused      uint64 // connections refused: too many
	Late         uint64 // connections ended: no Hello in time
	Origins      uint64 // requests for a session refused: the origin
	Seconds      uint64 // requests for a second session on a connection, refused
	Retries      uint64 // QUIC handshakes that had to prove their address first
	WindowLent   uint64 // bytes of receive window beyond the initial ones
	WindowDenied uint64 // requests for more that the budget refused
}

type gauge struct{ atomic.Int64 }

type counters struct {
	refused, late, origins, seconds, retries atomic.Uint64
	webTransport, webSocket                  gauge
}

// Stats returns the current numbers.
func (s *Server) Stats() Stats {
	l := s.lobby
	l.windows.mu.Lock()
	lent, denied := l.windows.lent, l.windows.denied
	l.windows.mu.Unlock()
	return Stats{
		Unwelcomed:   l.unwelcomed.count(),
		HTTP:         l.http.count(),
		Handshaking:  int(l.handshakeCount.Load()),
		WebTransport: int(s.counters.webTransport.Load()),
		WebSocket:    int(s.counters.webSocket.Load()),
		Refused:      s.counters.refused.Load(),
		Late:         s.counters.late.Load(),
		Origins:      s.counters.origins.Load(),
		Seconds:      s.counters.seconds.Load(),
		Retries:      s.counters.retries.Load(),
		WindowLent:   lent,
		WindowDenied: denied,
	}
}
