package edge

import (
	"fmt"

	"github.com/meridian-relay/meridian/relay/wire"
)

// Limits bound what peers may cost. In every field 0 stands for the default and a negative
// number for no limit, but Payload and Unanswered always have one.
type Limits struct {
	// Payload of one message, in bytes. 0: 64 KiB; at most 1 MiB.
	Payload int
	// Unanswered publishes of one session, in bytes. 0: 1 MiB.
	Unanswered int
	// Sessions of this edge. 0: 100,000.
	Sessions int
	// Session holds for each session, where Sessions has no meaning. 0: 1,000 subscriptions,
	// 100 new ones/s, 10,000 publishes/s, 16 MiB/s.
	Session Scope
	// Subject holds for all sessions and requests of one subject at this edge together. 0:
	// 10,000 sessions, 100,000 subscriptions, 5,000 new ones/s, 20,000 publishes/s, 32 MiB/s.
	Subject Scope
	// Address holds for all sessions and requests from one IPv4 address or IPv6 /64 together.
	// 0: 2,000 sessions, 200,000 subscriptions, 20,000 new ones/s, 50,000 publishes/s, 64 MiB/s.
	Address Scope
}

// A Scope is what one session, subject or address may have.
type Scope struct {
	Sessions      int
	Subscriptions int
	// Subscribes are new subscriptions and pages of history, per second; as many as
	// Subscriptions may come at once, so that who reconnects need not wait. No limit where
	// Subscriptions has none.
	Subscribes float64
	Publishes  float64 // per second; a second's worth may come at once
	Bytes      float64 // of published messages, per second; as much, and at least 2 MiB, may come at once
}

const (
	defaultPayload    = 64 << 10
	defaultUnanswered = 1 << 20
)

// resolved returns l with the defaults in place.
func (l Limits) resolved() (Limits, error) {
	if l.Payload > wire.MaxPayload {
		return l, fmt.Errorf("limits: payload %d bytes; at most %d", l.Payload, wire.MaxPayload)
	}
	if l.Payload <= 0 {
		l.Payload = defaultPayload
	}
	if l.Unanswered <= 0 {
		l.Unanswered = defaultUnanswered
	}
	l.Sessions = or(l.Sessions, 100_000)
	l.Session = l.Session.or(Scope{0, 1000, 100, 10_000, 16 << 20})
	l.Subject = l.Subject.or(Scope{10_000, 100_000, 5000, 20_000, 32 << 20})
	l.Address = l.Address.or(Scope{2000, 200_000, 20_000, 50_000, 64 << 20})
	return l, nil
}

func (s Scope) or(d Scope) Scope {
	if s.Subscriptions < 0 {
		d.Subscribes = -1
	}
	return Scope{
		Subscribes:    or(s.Subscribes, d.Subscribes),
		Sessions:      or(s.Sessions, d.Sessions),
		Subscriptions: or(s.Subscriptions, d.Subscriptions),
		Publishes:     or(s.Publishes, d.Publishes),
		Bytes:         or(s.Bytes, d.Bytes),
	}
}

func or[T int | float64](v, zero T) T {
	if v == 0 {
		return zero
	}
	return v
}
