package shardtest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/planted"
)

// maxSnapshots bounds how many are frozen, and how many staged.
const maxSnapshots = 4

// errEmpty: a state was read that the store does not have.
var errEmpty = errors.New("shardtest: the store does not have this state")

// Begin implements shard.States.
func (s *Store) Begin(r shard.Replica) shard.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.now.states[r]
	if v == nil {
		return &batch{View: memview.New(), s: s, r: r}
	}
	return &batch{View: v.Copy(), s: s, r: r, was: v}
}

// A batch is a copy of the state, which takes its place.
type batch struct {
	*memview.View
	s   *Store
	r   shard.Replica
	was *memview.View
}

func (b *batch) Commit() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	switch {
	case b.s.fail != nil:
		return b.s.fail
	case b.was == nil || b.s.now.states[b.r] == nil:
		return fmt.Errorf("shardtest: commit to %v: %w", b.r, shard.ErrNoReplica)
	case b.s.now.states[b.r] != b.was:
		return fmt.Errorf("shardtest: two batches of %v at once", b.r)
	}
	b.s.now.states[b.r] = b.View
	return nil
}

func (b *batch) Close() {}

// Read implements shard.States.
func (s *Store) Read(r shard.Replica, durable bool) shard.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.now.states[r]
	if durable {
		v = s.durable.states[r]
	}
	if v == nil {
		return &reader{View: memview.New(), err: errEmpty}
	}
	return &reader{View: v}
}

// A reader holds a state that nobody changes.
type reader struct {
	*memview.View
	err error
}

func (r *reader) Err() error { return r.err }
func (r *reader) Close()     {}

// Freeze implements shard.States.
func (s *Store) Freeze(r shard.Replica) (shard.Frozen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.now.states[r]
	if v == nil {
		return nil, shard.ErrNoReplica
	}
	if s.frozen == maxSnapshots {
		return nil, shard.ErrBusy
	}
	at, ok := shard.ReadApplied(v)
	d, also := shard.ReadDescriptor(v)
	if !ok || !also {
		return nil, fmt.Errorf("shardtest: freeze %v: it has no state", r)
	}
	s.frozen++
	return &frozen{s: s, view: v, at: at, descriptor: d}, nil
}

type frozen struct {
	s          *Store
	view       *memview.View
	at         shard.Place
	descriptor shard.Descriptor
	closed     bool
}

func (f *frozen) At() shard.Place              { return f.at }
func (f *frozen) Descriptor() shard.Descriptor { return f.descriptor }

func (f *frozen) Close() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if !f.closed {
		f.closed = true
		f.s.frozen--
	}
}

func (f *frozen) Chunk(from []byte, size int) (shard.Chunk, error) {
	c := shard.Chunk{From: from}
	bytes := 0
	for k, v := range f.view.Ascend(from, pastAll) {
		if bytes >= size && len(c.Keys) > 0 {
			c.To = k
			break
		}
		bytes += len(k) + len(v)
		if planted.On(planted.ForgetProducers) && k[0] >= 0x14 && k[0] <= 0x15 {
			continue
		}
		c.Keys, c.Values = append(c.Keys, k), append(c.Values, v)
	}
	c.Sum = c.Hash()
	return c, nil
}

// pastAll is beyond every key.
var pastAll = bytes.Repeat([]byte{0xff}, 16)

func upTo(to []byte) []byte {
	if len(to) == 0 {
		return pastAll
	}
	return to
}

type stageID struct {
	r  shard.Replica
	at shard.Place
}

// Stage implements shard.States. What is staged is gone after a crash.
func (s *Store) Stage(r shard.Replica, at shard.Place) (shard.Staging, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := stageID{r, at}
	if st := s.staged[id]; st != nil {
		return st, nil
	}
	for o := range s.staged {
		if o.r == r {
			delete(s.staged, o) // an older place is of no use any more
		}
	}
	if len(s.staged) == maxSnapshots {
		return nil, shard.ErrBusy
	}
	st := &Staging{s: s, replica: r, at: at, view: memview.New()}
	s.staged[id] = st
	return st, nil
}

// A Staging is a state to come.
type Staging struct {
	s       *Store
	replica shard.Replica
	at      shard.Place
	view    *memview.View
	from    []byte
	done    bool
	taken   bool
}

// At implements shard.Staging, as do the others.
func (st *Staging) At() shard.Place { return st.at }

// From returns where the next chunk begins.
func (st *Staging) From() ([]byte, bool) { return st.from, st.done }

// Keep takes a chunk from the present state.
func (st *Staging) Keep(from, to []byte, sum uint64) (bool, error) {
	r := st.s.Read(st.replica, false)
	defer r.Close()
	if r.Err() != nil {
		return false, nil
	}
	c := shard.Chunk{From: from, To: to, Sum: sum}
	for k, v := range r.Ascend(from, upTo(to)) {
		c.Keys, c.Values = append(c.Keys, k), append(c.Values, v)
	}
	if c.Hash() != sum {
		return false, nil
	}
	return true, st.Put(c)
}

// Put takes a chunk as it came.
func (st *Staging) Put(c shard.Chunk) error {
	if st.done || !bytes.Equal(c.From, st.from) {
		return fmt.Errorf("shardtest: a chunk from %x, want one from %x", c.From, st.from)
	}
	if c.Hash() != c.Sum {
		return fmt.Errorf("shardtest: chunk from %x: sum %x, want %x", c.From, c.Hash(), c.Sum)
	}
	for i, k := range c.Keys {
		if bytes.Compare(k, c.From) < 0 || bytes.Compare(k, upTo(c.To)) >= 0 {
			return fmt.Errorf("shardtest: chunk from %x to %x has key %x", c.From, c.To, k)
		}
		st.view.Set(k, bytes.Clone(c.Values[i]))
	}
	st.from, st.done = bytes.Clone(c.To), len(c.To) == 0
	return nil
}

// Close gives the staging up, unless a Write took it.
func (st *Staging) Close() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if !st.taken {
		delete(st.s.staged, stageID{st.replica, st.at})
	}
}
