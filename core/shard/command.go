package shard

import (
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
)

// A Command is a change other than a publish, for Host.Propose. Exactly one field is set.
type Command struct {
	Steps  []channel.Step  // retention, from channel.Due
	Expire int             // forget so many producers that are due
	Policy *PolicyChange   // define a namespace, or change its policy
	Limits *channel.Limits // of producers' tables
	Slots  *SlotChange     // own slots, or name who does
	Pin    *PinChange      // own one channel beyond its slot, or name who does
	Raise  *RaiseChange    // raise the floor of epochs
	// Version raises the shard's version; only to what all members support.
	Version uint64
}

// A PolicyChange is a namespace's policy.
type PolicyChange struct {
	Namespace relay.Namespace
	Policy    channel.Policy
}

// A SlotChange says who owns slots First to Last of a namespace: this shard, or Else (0: nobody
// that it knows of).
type SlotChange struct {
	Namespace   relay.Namespace
	First, Last relay.Slot
	Own         bool
	Else        ID
}

// A PinChange says who owns a channel, whoever owns its slot.
type PinChange struct {
	Channel relay.Channel
	Own     bool
	Else    ID // 0 and not Own: the slot's owner again
}

// A RaiseChange raises the floor of epochs.
type RaiseChange struct {
	Floor  relay.Epoch
	Broken bool // all channels begin a new epoch
}
