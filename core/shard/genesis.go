package shard

import (
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
)

// Origin is where the log of a new shard begins: its replicas share a state without having
// applied anything.
var Origin = Place{Index: 1, Term: 1}

// A Genesis is the first state of a shard: the same bytes on every member.
type Genesis struct {
	// Descriptor's Version and Next may be 0: the first version, and the number after the
	// last member's.
	Descriptor Descriptor
	Time       time.Time
	Slots      []SlotChange
	Policies   []PolicyChange
	Limits     channel.Limits
}

// Write writes the state, with the shard's own keys at Origin.
func (g *Genesis) Write(v channel.View) error {
	d := g.Descriptor
	if err := d.Check(); err != nil {
		return err
	}
	if d.Version == 0 {
		d.Version = 1
	}
	d.Next = max(d.Next, d.Members[len(d.Members)-1].Number+1)
	b := channel.NewBatch()
	b.Begin(v, g.Time)
	b.SetLimits(g.Limits)
	for _, p := range g.Policies {
		if err := b.SetPolicy(p.Namespace, p.Policy); err != nil {
			return fmt.Errorf("shard %v: %w", d.Shard, err)
		}
	}
	for i := range g.Slots {
		g.Slots[i].apply(b)
	}
	b.Commit()
	writeDescriptor(v, &d)
	WriteApplied(v, Origin)
	return nil
}
