package edge

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// anyone is a Verifier for which a token is its subject.
type anyone struct{}

func (anyone) Verify(token string) (*relay.Grant, relay.End) {
	return &relay.Grant{Subject: relay.Subject(token)}, relay.End{}
}

func newTestEdge(t *testing.T, l Limits) *Edge {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plain.Close() })
	e, err := New(Config{Name: "e", Upstream: relaytest.NewFake(), Tokens: anyone{}, Plain: plain, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *Edge) testGate(t *testing.T, subject string) *gate {
	t.Helper()
	g := e.newGate(relay.Peer{Carrier: relay.WebTransport})
	if _, end := g.Hello(subject); end.Code != relay.Done {
		t.Fatal(end.Err())
	}
	return g
}

// Who exceeds a limit of its own takes nothing from what it shares with others.
func TestRefusedTakesNothingFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newTestEdge(t, Limits{
			Session: Scope{Publishes: 10, Subscriptions: 1},
			Subject: Scope{Publishes: 20, Subscriptions: 2},
			Address: Scope{Publishes: 30, Subscriptions: 3},
		})
		loud, quiet, other := e.testGate(t, "a"), e.testGate(t, "a"), e.testGate(t, "b")
		count := func(g *gate) (published, subscribed int) {
			for range 1000 {
				if g.Publish("demo:x", 1).Code == relay.Done {
					published++
				}
				if g.Subscribe("demo:x").Code == relay.Done {
					subscribed++
				}
			}
			return published, subscribed
		}
		for i, g := range []*gate{loud, quiet, other} {
			if published, subscribed := count(g); published != 10 || subscribed != 1 {
				t.Errorf("session %d: %d publishes and %d subscriptions; want 10 and 1", i, published, subscribed)
			}
		}
		// All of the address's are taken now.
		late := e.testGate(t, "c")
		if end := late.Publish("demo:x", 1); end.Code != relay.PublishRate {
			t.Errorf("a fourth session's publish: %+v", end)
		}
		if end := late.Subscribe("demo:x"); end.Code != relay.TooManySubscriptions {
			t.Errorf("a fourth session's subscription: %+v", end)
		}
		loud.Unsubscribe("demo:x")
		loud.leave()
		if end := late.Subscribe("demo:x"); end.Code != relay.Done {
			t.Errorf("after one has gone: %+v", end)
		}
		late.Unsubscribe("demo:x")
		for _, g := range []*gate{quiet, other} {
			g.Unsubscribe("demo:x")
		}
		for _, g := range []*gate{quiet, other, late} {
			g.leave()
		}
		time.Sleep(2 * idleFor)
		for _, b := range []*book{e.subjects, e.addresses} {
			b.release(b.open("-")) // sweeps
			if n := b.len(); n != 1 {
				t.Errorf("%d accounts of %ss when all have gone", n-1, b.scope)
			}
		}
		if e.all.sessions != 0 {
			t.Errorf("%d sessions when all have gone", e.all.sessions)
		}
	})
}

// A session that is refused at any of the limits holds none of them.
func TestRefusedSessionHoldsNothing(t *testing.T) {
	for name, l := range map[string]Limits{
		"edge":    {Sessions: 1},
		"subject": {Subject: Scope{Sessions: 1}},
		"address": {Address: Scope{Sessions: 1}},
	} {
		e := newTestEdge(t, l)
		first := e.testGate(t, "a")
		for range 100 {
			g := e.newGate(relay.Peer{})
			if _, end := g.Hello("a"); end.Code != relay.TooManySessions || end.RetryAfter == 0 {
				t.Fatalf("%s: %+v", name, end)
			}
			g.leave()
		}
		if e.all.sessions != 1 || first.subject.sessions != 1 || first.address.sessions != 1 || first.subject.uses != 1 {
			t.Errorf("%s: %d, %d and %d sessions, %d uses; want 1 of each", name,
				e.all.sessions, first.subject.sessions, first.address.sessions, first.subject.uses)
		}
		first.leave()
		e.testGate(t, "a")
	}
}

// However many sessions there are, asking them takes at most half of the grace; few are not
// kept waiting for it.
func TestPace(t *testing.T) {
	const grace = 30 * time.Second
	for _, n := range []int{0, 1, 10, 100, 1000, 1501, 20_000, 100_000, 5_000_000} {
		batch, pause := pace(n, grace)
		if batch < 1 || pause < 0 {
			t.Fatalf("%d sessions: %d, then %v", n, batch, pause)
		}
		total := time.Duration((n-1)/batch) * pause
		if total > grace/2 {
			t.Errorf("%d sessions take %v", n, total)
		}
		if fast := time.Duration(n) * time.Second / goAwayRate; total > fast {
			t.Errorf("%d sessions take %v; %d/s take %v", n, total, goAwayRate, fast)
		}
		if n > 1500 && total < grace*2/5 {
			t.Errorf("%d sessions leave within %v, all but at once", n, total)
		}
	}
}
