package transport

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func newLobby(edit func(*lobby)) *lobby {
	l := &lobby{
		within:     3 * time.Second,
		unwelcomed: tally{most: 10, mostPer: 3},
		http:       tally{most: 10, mostPer: 3},
		stats:      &counters{},
	}
	if edit != nil {
		edit(l)
	}
	return l
}

var here = netip.MustParseAddrPort("192.0.2.1:1000")

func TestGuestIsEndedAfterHelloWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobby(nil)
		var ended []relay.Code
		hangUp := func(c relay.Code, _ string) { ended = append(ended, c) }
		late, http, welcome := l.enter(here), l.enter(here), l.enter(here)
		for _, g := range []*guest{late, http, welcome} {
			g.accepted(hangUp)
		}
		if l.enter(here) != nil {
			t.Fatal("a fourth from one address was let in")
		}
		if !http.request() || welcome.upgrade() != relay.Done {
			t.Fatal("refused")
		}
		time.Sleep(3*time.Second - 1)
		welcome.welcome()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(ended) != 1 || ended[0] != relay.HelloTimeout {
			t.Fatalf("ended: %v", ended)
		}
		if l.unwelcomed.count() != 0 || l.http.count() != 1 {
			t.Fatalf("%d unwelcomed, %d http", l.unwelcomed.count(), l.http.count())
		}
		for _, g := range []*guest{late, http, welcome} {
			g.gone()
			g.gone()
		}
		if l.unwelcomed.count() != 0 || l.http.count() != 0 || len(l.unwelcomed.per) != 0 || len(l.http.per) != 0 {
			t.Fatal("something is still counted")
		}
	})
}

// A request first does not buy a session more than the time for its Hello.
func TestGuestOfHTTPIsTimedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobby(nil)
		g := l.enter(here)
		g.request()
		time.Sleep(time.Minute)
		if g.upgrade() != relay.Done {
			t.Fatal("refused")
		}
		if l.unwelcomed.count() != 1 || l.http.count() != 0 {
			t.Fatal("counted wrongly")
		}
		if g.upgrade() != relay.TooManySessions {
			t.Fatal("a second session was allowed")
		}
		var ended relay.Code
		g.holds(closeFunc(func(c relay.Code) { ended = c }))
		g.request() // no way out
		time.Sleep(3*time.Second + 1)
		synctest.Wait()
		if ended != relay.HelloTimeout {
			t.Fatalf("ended with %v", ended)
		}
		if g.upgrade() != relay.TooManySessions || g.request() {
			t.Fatal("it went on")
		}
	})
}

// One that is late before its handshake is done is ended when it is.
func TestGuestLateInHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobby(nil)
		early, mid := l.enter(here), l.enter(here)
		mid.upgrade()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		var ended int
		early.accepted(func(relay.Code, string) { ended++ })
		mid.holds(closeFunc(func(relay.Code) { ended++ }))
		if ended != 2 {
			t.Fatalf("%d of 2 were ended", ended)
		}
	})
}

func TestGuestOfHTTPIsRefusedWhenTooMany(t *testing.T) {
	l := newLobby(func(l *lobby) { l.unwelcomed.mostPer = 1 })
	a := l.enter(here)
	a.request()
	b := l.enter(here)
	if b == nil {
		t.Fatal("a guest that made a request still counts as unwelcomed")
	}
	if got := a.upgrade(); got != relay.TooManyConnections {
		t.Fatalf("upgrade: %v", got)
	}
	b.gone()
	if got := a.upgrade(); got != relay.Done {
		t.Fatalf("upgrade: %v", got)
	}
	a.gone()
}

func TestAddrKey(t *testing.T) {
	same := func(a, b string) bool {
		return addrKey(netip.MustParseAddrPort(a)) == addrKey(netip.MustParseAddrPort(b))
	}
	if !same("1.2.3.4:1", "[::ffff:1.2.3.4]:2") || same("1.2.3.4:1", "1.2.3.5:1") ||
		!same("[2001:db8::1]:1", "[2001:db8::ffff:1]:2") || same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1") ||
		!same("[fe80::1%eth0]:1", "[fe80::2%eth1]:1") {
		t.Error("limits count an IPv4 address or an IPv6 /64")
	}
}

func TestWindowBudget(t *testing.T) {
	w := windows{budget: 100}
	g := &guest{}
	if !w.lend(g, 60) || w.lend(g, 50) || !w.lend(g, 40) {
		t.Fatal("lent wrongly")
	}
	w.release(g)
	if w.lent != 0 || w.lend(g, 1) || w.denied != 2 {
		t.Fatalf("lent %d, denied %d", w.lent, w.denied)
	}
	w.release(g)
	if w.lent != 0 {
		t.Fatalf("lent %d", w.lent)
	}
}

type closeFunc func(relay.Code)

func (f closeFunc) Close(c relay.Code, _ string) { f(c) }
