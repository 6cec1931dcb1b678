package shard

import (
	"time"

	"github.com/meridian-relay/meridian/core/channel"
)

// A Machine runs entries on states. It holds nothing between runs but scratch; one for each
// goroutine that applies.
type Machine struct{}

// NewMachine returns a Machine.
func NewMachine() *Machine { panic("not yet") }

// Run runs a's entries on v, which then has the shard's own keys too, and sets a.Result. The
// caller commits v and calls Answer. An error means that log or state are damaged (ErrDamaged):
// the caller commits nothing and ends the process, as on an error of the store.
func (m *Machine) Run(a *Apply, v channel.View) error { panic("not yet") }

// Answer answers those whose publishes a has. It is called after v's commit.
func (a *Apply) Answer() { panic("not yet") }

// Upkeep returns the commands that retention and expiry ask for now, of a bounded size. None:
// nothing is due.
func Upkeep(r channel.Reader, now time.Time) []Command { panic("not yet") }

// ReadDescriptor and ReadApplied read the shard's own keys.
func ReadDescriptor(r channel.Reader) (Descriptor, bool) { panic("not yet") }

// ReadApplied: see ReadDescriptor.
func ReadApplied(r channel.Reader) (Place, bool) { panic("not yet") }

// A proposal is an entry that was made here and is not applied yet.
type proposal struct {
	id      uint64
	answers []Answer    // of its publishes, in order
	done    func(error) // of its commands, or its change of membership; nil: of publishes
	err     error       // set by Machine.Run: a command was refused, such as a policy that cannot be
	size    uint64      // what it takes of the host's budget
	at      time.Time   // when it was made
}
