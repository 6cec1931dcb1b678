package relay

import (
	"slices"
	"time"
)

// An Action is what a capability allows on a channel.
type Action uint8

const (
	ActSubscribe Action = 1 << iota // receive messages as they come, and after a position
	ActPublish
	ActHistory // begin at last, since or first; limited subscriptions
)

// Actions maps the names in tokens to actions.
var Actions = map[string]Action{
	"subscribe": ActSubscribe, "publish": ActPublish, "history": ActHistory,
}

func (a Action) String() string {
	for name, b := range Actions {
		if a == b {
			return name
		}
	}
	return "several"
}

// A Capability allows actions on the channels that a pattern names.
type Capability struct {
	Pattern Pattern
	Actions Action
}

// A Grant is what a peer may do, from its token or its certificate. It is immutable.
type Grant struct {
	Subject      Subject
	Expires      time.Time // zero: never
	Capabilities []Capability
	// Hop: the peer is a process of the fleet. It may do everything, in any subject's name.
	Hop bool
}

// Allows reports whether g allows every action of a on c.
func (g *Grant) Allows(a Action, c Channel) bool {
	if g.Hop {
		return true
	}
	for _, k := range g.Capabilities {
		if k.Pattern.Match(c) {
			a &^= k.Actions
		}
	}
	return a == 0
}

// Needs returns the actions that a subscription takes.
func (r *SubscribeRequest) Needs() Action {
	a := ActSubscribe
	if r.Limit > 0 {
		a = ActHistory
	}
	if slices.Contains([]StartKind{StartLast, StartSince, StartFirst}, r.From.Kind) {
		a |= ActHistory
	}
	return a
}
