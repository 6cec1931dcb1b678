package client

import (
	"context"
	"iter"
	"sync"

	"github.com/meridian-relay/meridian/relay"
)

// A Phase is what a client is doing about its session.
type Phase string

const (
	Connecting   Phase = "connecting"   // for the first time
	Connected    Phase = "connected"    // a session stands
	Reconnecting Phase = "reconnecting" // it was lost; subscriptions and publishes wait
	Suspended    Phase = "suspended"    // for two minutes without success; still trying
	Closed       Phase = "closed"       // for ever
)

// A State is a client's phase and what goes with it.
type State struct {
	Phase   Phase
	Reason  error         // why the last session, or the last attempt, failed; nil: it did not
	Edge    string        // of the session, while connected
	Region  relay.Region  // of the edge
	Carrier relay.Carrier // of the session
}

// stateBox holds the newest state and wakes who waits for the next.
type stateBox struct {
	mu      sync.Mutex
	state   State
	version uint64
	changed chan struct{} // closed at the next change
}

func newStateBox() *stateBox {
	return &stateBox{state: State{Phase: Connecting}, version: 1, changed: make(chan struct{})}
}

func (b *stateBox) set(s State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Phase == Closed {
		return
	}
	b.state = s
	b.version++
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *stateBox) get() (State, uint64, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.version, b.changed
}

// States yields the client's state and then each new one, until it is closed or ctx ends. Who
// is slow misses states in between, never the newest.
func (c *Client) States(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		seen := uint64(0)
		for {
			s, version, changed := c.states.get()
			if version != seen {
				seen = version
				if !yield(s) || s.Phase == Closed {
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// State returns the client's state.
func (c *Client) State() State {
	s, _, _ := c.states.get()
	return s
}
