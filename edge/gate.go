package edge

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

var _ link.Gate = (*gate)(nil)

// A gate holds one session to the limits of the session, its subject and its address. The
// narrower scope is asked first: who exceeds it takes nothing from the wider ones.
type gate struct {
	// Set at construction.
	edge    *Edge
	carrier relay.Carrier
	address *entry
	own     account
	tokens  *rate.Limiter // verifications

	// Written by the first Hello, before any other call.
	welcome bool
	subject *entry
}

func (e *Edge) newGate(p relay.Peer) *gate {
	limits := e.limits.Load()
	return &gate{
		edge:    e,
		carrier: p.Carrier,
		address: e.addresses.open(addressKey(p.Addr.Addr())),
		own:     account{scope: "session", limits: limits.Session},
		tokens:  rate.NewLimiter(1, 5),
	}
}

// Hello verifies a token, and the first time takes the session's place in every scope.
func (g *gate) Hello(token string) (*relay.Grant, relay.End) {
	if !g.welcome {
		if end := g.edge.admission(); end.Code != relay.Done {
			return nil, end
		}
	}
	if !g.tokens.Allow() {
		return nil, g.edge.limited(relay.End{Code: relay.RequestRate, RetryAfter: time.Second,
			Detail: "tokens follow each other too fast; refresh a minute or so before expiry"})
	}
	grant, end := g.edge.cfg.Tokens.Verify(token)
	if end.Code == relay.Done && !g.welcome {
		end = g.enter(grant)
	}
	if end.Code != relay.Done {
		g.edge.count.refusedHello(end.Code)
		return nil, end
	}
	return grant, end
}

func (g *gate) enter(grant *relay.Grant) relay.End {
	subject := g.edge.subjects.open(string(grant.Subject))
	end := g.edge.all.openSession()
	if end.Code == relay.Done {
		if end = g.address.openSession(); end.Code == relay.Done {
			if end = subject.openSession(); end.Code == relay.Done {
				g.subject, g.welcome = subject, true
				g.edge.count.opened(g.carrier)
				return end
			}
			g.address.closeSession()
		}
		g.edge.all.closeSession()
	}
	g.edge.subjects.release(subject)
	return g.edge.limited(end)
}

// leave gives back what the session took. No other call comes after it.
func (g *gate) leave() {
	if g.welcome {
		g.subject.closeSession()
		g.address.closeSession()
		g.edge.all.closeSession()
		g.edge.subjects.release(g.subject)
		g.edge.count.closed(g.carrier)
	}
	g.edge.addresses.release(g.address)
}

// Publish admits one publish.
func (g *gate) Publish(_ relay.Channel, bytes int) relay.End {
	now := time.Now()
	for _, a := range [...]*account{&g.own, &g.subject.account, &g.address.account} {
		if end := a.publish(now, 1, bytes); end.Code != relay.Done {
			return g.edge.limited(end)
		}
	}
	g.edge.count.published(1, bytes)
	return relay.End{}
}

// Subscribe admits one subscription.
func (g *gate) Subscribe(relay.Channel) relay.End {
	return g.edge.subscribe(&g.own, &g.subject.account, &g.address.account)
}

// Unsubscribe gives its place back.
func (g *gate) Unsubscribe(relay.Channel) {
	g.own.unsubscribe()
	g.subject.unsubscribe()
	g.address.unsubscribe()
}

// subscribe takes one subscription in all of the accounts, or in none.
func (e *Edge) subscribe(accounts ...*account) relay.End {
	now := time.Now()
	for i, a := range accounts {
		if end := a.subscribe(now); end.Code != relay.Done {
			for _, taken := range accounts[:i] {
				taken.unsubscribe()
			}
			return e.limited(end)
		}
	}
	return relay.End{}
}

// limited counts a refusal for a limit.
func (e *Edge) limited(end relay.End) relay.End {
	e.count.limit(end.Code)
	return end
}
