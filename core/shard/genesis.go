package shard

import (
	"time"

	"github.com/meridian-relay/meridian/core/channel"
)

// Origin is where the log of a new shard begins: its replicas share a state without having
// applied anything.
var Origin = Place{Index: 1, Term: 1}

// A Genesis is the first state of a shard: the same bytes on every member.
type Genesis struct {
	Descriptor Descriptor
	Time       time.Time
	Slots      []SlotChange
	Policies   []PolicyChange
	Limits     channel.Limits
}

// Write writes the state, with the shard's own keys at Origin.
func (g *Genesis) Write(v channel.View) error { panic("not yet") }
