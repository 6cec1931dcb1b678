package transport

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A guest is one connection, TCP or QUIC, from its first packet to its end. While it is
// unwelcomed or only speaks HTTP, it counts against the lobby's limits.
type guest struct {
	// set at construction
	lobby *lobby
	key   netip.Prefix

	shaking atomic.Bool // a QUIC handshake that may be unfinished

	mu      sync.Mutex
	state   guestState
	expired bool                     // the time for a Hello passed before there was anything to end
	timer   *time.Timer              // of the unwelcomed
	session closer                   // nil: none
	hangUp  func(relay.Code, string) // ends the connection; nil: not accepted yet

	window uint64 // guarded by lobby.windows.mu: bytes of receive window beyond the initial one
}

type guestState uint8

const (
	guestNew     guestState = iota // unwelcomed
	guestHTTP                      // made a request, holds no session
	guestWelcome                   // said Hello
	guestGone
)

// A lobby admits connections and ends those that do not say Hello in time.
type lobby struct {
	// set at construction
	within         time.Duration
	unwelcomed     tally
	http           tally
	windows        windows
	stats          *counters
	retryAbove     int
	handshakeCount gauge
}

// A tally counts connections, in all and by address.
type tally struct {
	most, mostPer int // set at construction

	mu  sync.Mutex
	n   int
	per map[netip.Prefix]int
}

// add counts one more unless that is too many.
func (t *tally) add(key netip.Prefix) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n >= t.most || t.per[key] >= t.mostPer {
		return false
	}
	if t.per == nil {
		t.per = make(map[netip.Prefix]int)
	}
	t.n++
	t.per[key]++
	return true
}

func (t *tally) remove(key netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.per[key]--; t.per[key] <= 0 {
		delete(t.per, key)
	}
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// addrKey is what limits per address count: an IPv4 address or an IPv6 /64.
func addrKey(a netip.AddrPort) netip.Prefix {
	ip := a.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // the zero Prefix for an address that is none
	return p
}

// enter admits a connection; nil if there are too many.
func (l *lobby) enter(from netip.AddrPort) *guest {
	g := &guest{lobby: l, key: addrKey(from)}
	if !l.unwelcomed.add(g.key) {
		l.stats.refused.Add(1)
		return nil
	}
	g.timer = time.AfterFunc(l.within, g.late)
	return g
}

// late ends a connection that is still unwelcomed.
func (g *guest) late() {
	g.mu.Lock()
	if g.state != guestNew {
		g.mu.Unlock()
		return
	}
	g.state = guestGone
	g.expired = true
	g.lobby.unwelcomed.remove(g.key)
	session, hangUp := g.session, g.hangUp
	g.mu.Unlock()
	g.lobby.stats.late.Add(1)
	g.end(session, hangUp)
}

func (g *guest) end(session closer, hangUp func(relay.Code, string)) {
	why := "no valid Hello within " + g.lobby.within.String()
	if session != nil {
		session.Close(relay.HelloTimeout, why)
	} else if hangUp != nil {
		hangUp(relay.HelloTimeout, why)
	}
}

// accepted says how to end the connection from now on.
func (g *guest) accepted(hangUp func(relay.Code, string)) {
	g.mu.Lock()
	g.hangUp = hangUp
	expired := g.expired
	g.mu.Unlock()
	if expired {
		g.end(nil, hangUp)
	}
}

// request notes a request that is not for a session. It reports whether it may be served.
func (g *guest) request() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.state {
	case guestNew:
		if g.session != nil {
			return true // its Hello is still awaited
		}
		if !g.lobby.http.add(g.key) {
			g.lobby.stats.refused.Add(1)
			return false
		}
		g.state = guestHTTP
		g.timer.Stop()
		g.lobby.unwelcomed.remove(g.key)
	case guestGone:
		return false
	}
	return true
}

// upgrade notes that the connection is about to hold a session, its first and only. A guest that
// made requests before is unwelcomed again.
func (g *guest) upgrade() relay.Code {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session != nil || g.state == guestWelcome || g.state == guestGone {
		return relay.TooManySessions
	}
	if g.state == guestHTTP {
		if !g.lobby.unwelcomed.add(g.key) {
			g.lobby.stats.refused.Add(1)
			return relay.TooManyConnections
		}
		g.lobby.http.remove(g.key)
		g.state = guestNew
		g.timer.Reset(g.lobby.within)
	}
	g.session = pending{}
	return relay.Done
}

// A closer is what a guest needs of a session.
type closer interface {
	Close(code relay.Code, reason string)
}

// pending stands for a session that is being made.
type pending struct{}

func (pending) Close(relay.Code, string) {}

// holds names the session, once it is there; it is ended if it came too late.
func (g *guest) holds(s closer) {
	g.mu.Lock()
	g.session = s
	expired := g.expired
	g.mu.Unlock()
	if expired {
		g.end(s, nil)
	}
}

// welcome notes a valid Hello.
func (g *guest) welcome() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != guestNew {
		return
	}
	g.state = guestWelcome
	g.timer.Stop()
	g.timer = nil
	g.lobby.unwelcomed.remove(g.key)
}

// gone notes the end of the connection.
func (g *guest) gone() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.state {
	case guestNew:
		g.lobby.unwelcomed.remove(g.key)
		g.timer.Stop()
	case guestHTTP:
		g.lobby.http.remove(g.key)
	}
	g.state = guestGone
	g.session, g.hangUp = nil, nil
	g.lobby.windows.release(g)
}

// handshaken notes that a QUIC handshake is over: a request proves it, or the end.
func (g *guest) handshaken() {
	if g.shaking.CompareAndSwap(true, false) {
		g.lobby.handshakeCount.Add(-1)
	}
}
