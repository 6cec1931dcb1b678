package core

import (
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// frozenFor is how long a state that nobody fetches is kept.
const frozenFor = 30 * time.Second

// freezer holds the states that peers may fetch, by name. The store bounds how many there are.
// Safe for concurrent use.
type freezer struct {
	states shard.States
	clock  func() time.Time

	mu   sync.Mutex
	last uint64
	held map[uint64]*frozen
}

// A frozen is one state. Invariant: lent is true while a peer reads it.
type frozen struct {
	replica shard.Replica
	state   shard.Frozen
	used    time.Time
	by      shard.Number // who was told of it; 0: nobody yet
	lent    bool
	done    bool // nobody will come again
}

func newFreezer(states shard.States) *freezer {
	// Names are not repeated across restarts: a peer that asks for an old one must not get
	// another state.
	return &freezer{
		states: states, clock: time.Now, held: make(map[uint64]*frozen),
		last: uint64(time.Now().UnixNano()),
	}
}

// freeze keeps a state as it stands.
func (f *freezer) freeze(r shard.Replica) (name uint64, at shard.Place, d shard.Descriptor, err error) {
	f.sweep()
	state, err := f.states.Freeze(r)
	if err != nil {
		return 0, shard.Place{}, shard.Descriptor{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.held[f.last] = &frozen{replica: r, state: state, used: f.clock()}
	return f.last, state.At(), state.Descriptor(), nil
}

// open lends a state to one who fetches, until it is closed; false: there is none by that name, or
// it is lent.
func (f *freezer) open(name uint64) (shard.Frozen, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.held[name]
	if s == nil || s.lent {
		return nil, false
	}
	s.lent = true
	return &lent{Frozen: s.state, of: f, name: name}, true
}

// A lent is a state that is read. Closing it gives it back: whoever fetches may come again.
type lent struct {
	shard.Frozen
	of   *freezer
	name uint64
}

func (l *lent) Close() {
	f := l.of
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.held[l.name]
	if s.lent, s.used = false, f.clock(); s.done {
		s.state.Close()
		delete(f.held, l.name)
	}
}

// told notes which member a state was announced to.
func (f *freezer) told(name uint64, by shard.Number) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.held[name]; s != nil {
		s.by = by
	}
}

// ended closes the states of a replica that a member was told of: it has them, or is given up.
// Others may still fetch theirs.
func (f *freezer) ended(r shard.Replica, by shard.Number) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.held {
		if s.replica != r || s.by != by {
			continue
		}
		if s.done = true; !s.lent {
			s.state.Close()
			delete(f.held, name)
		}
	}
}

// sweep closes states that nobody has fetched for long.
func (f *freezer) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.held {
		if !s.lent && f.clock().Sub(s.used) > frozenFor {
			s.state.Close()
			delete(f.held, name)
		}
	}
}

// close closes all. Nobody may read any more.
func (f *freezer) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.held {
		s.state.Close()
		delete(f.held, name)
	}
}
