package client

import "github.com/meridian-relay/meridian/relay"

// An Event is what a subscription yields: a *Message, *Subscribed, *Gap, *Status or *State.
type Event interface{ event() }

// Subscribed says that the subscription stands, and each time that it was resumed.
type Subscribed struct {
	Channel relay.Channel
	At      relay.Position // every message after At follows
	Head    relay.Position // the channel's newest message at that time
	Resumed bool
}

// A Gap says that the messages between After and Next will not come. Next follows. With reason
// relay.GapEpoch, messages beyond After that came before may not exist any more.
type Gap struct {
	Channel relay.Channel
	After   relay.Position
	Next    relay.Position
	Reason  relay.GapReason
}

// A Status says how the way from the edge to the channel's home stands.
type Status struct {
	Channel relay.Channel
	State   relay.State
}

func (*Message) event()    {}
func (*Subscribed) event() {}
func (*Gap) event()        {}
func (*Status) event()     {}
func (*State) event()      {}
