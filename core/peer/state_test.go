package peer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
)

var place = shard.Place{Index: 77, Term: 5}

// A state is one to fetch, in memory.
type state map[string]string

// newState has n pairs with values of a size.
func newState(n, size int) state {
	s := make(state, n)
	for i := range n {
		s[fmt.Sprintf("key-%06d", i)] = string(bytes.Repeat([]byte{byte(i)}, size))
	}
	return s
}

// keys returns the keys in order, for chunk.
func (s state) keys() []string { return slices.Sorted(maps.Keys(s)) }

func (s state) chunk(keys []string, from, to []byte, size int) shard.Chunk {
	c := shard.Chunk{From: from, To: to}
	bytes := 0
	first, _ := slices.BinarySearch(keys, string(from))
	for _, k := range keys[first:] {
		if len(to) > 0 && k >= string(to) {
			break
		}
		if bytes >= size {
			c.To = []byte(k)
			break
		}
		bytes += len(k) + len(s[k])
		c.Keys, c.Values = append(c.Keys, []byte(k)), append(c.Values, []byte(s[k]))
	}
	c.Sum = c.Hash()
	return c
}

// A shelf lends states, each to one at a time, as a leader's node does.
type shelf struct {
	mu     sync.Mutex
	states map[uint64]state
	lent   map[uint64]bool
	open   atomic.Int64
	chunk  func() error // called for every chunk; nil: none
}

func (s *shelf) put(name uint64, st state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states == nil {
		s.states = make(map[uint64]state)
	}
	s.states[name] = st
}

func (s *shelf) snapshot(name uint64) (shard.Frozen, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.states[name]
	if !ok || s.lent[name] {
		return nil, false
	}
	if s.lent == nil {
		s.lent = make(map[uint64]bool)
	}
	s.lent[name] = true
	s.open.Add(1)
	return &frozen{s, name, st, st.keys()}, true
}

type frozen struct {
	shelf *shelf
	name  uint64
	state state
	keys  []string
}

func (f *frozen) At() shard.Place              { return place }
func (f *frozen) Descriptor() shard.Descriptor { return shard.Descriptor{Shard: 3} }

func (f *frozen) Close() {
	f.shelf.mu.Lock()
	defer f.shelf.mu.Unlock()
	delete(f.shelf.lent, f.name)
	f.shelf.open.Add(-1)
}

func (f *frozen) Chunk(from []byte, size int) (shard.Chunk, error) {
	if f.shelf.chunk != nil {
		if err := f.shelf.chunk(); err != nil {
			return shard.Chunk{}, err
		}
	}
	return f.state.chunk(f.keys, from, nil, size), nil
}

// A staging is what a member gathers.
type staging struct {
	present, staged state
	keys            []string // of present, which does not change once it is asked for
	from            []byte
	done            bool
	kept, put       int
	each            func(s *staging) error // called for every chunk; nil: none
}

func (s *staging) At() shard.Place      { return place }
func (s *staging) From() ([]byte, bool) { return s.from, s.done }
func (s *staging) Close()               {}

func (s *staging) Keep(from, to []byte, sum uint64) (bool, error) {
	if s.keys == nil {
		s.keys = s.present.keys()
	}
	c := s.present.chunk(s.keys, from, to, 1<<30)
	if c.Hash() != sum {
		return false, nil
	}
	s.kept++
	return true, s.take(c)
}

func (s *staging) Put(c shard.Chunk) error {
	s.put++
	return s.take(c)
}

func (s *staging) take(c shard.Chunk) error {
	if s.done || !bytes.Equal(c.From, s.from) || c.Hash() != c.Sum {
		return errors.New("not the chunk that comes next")
	}
	if s.staged == nil {
		s.staged = make(state)
	}
	for i, k := range c.Keys {
		s.staged[string(k)] = string(c.Values[i])
	}
	s.from, s.done = bytes.Clone(c.To), len(c.To) == 0
	if s.each != nil {
		return s.each(s)
	}
	return nil
}

// complete checks that all is there.
func (s *staging) complete(t *testing.T, want state) {
	t.Helper()
	if !s.done || !maps.Equal(s.staged, want) {
		t.Errorf("staged %d pairs, done %v; want %d", len(s.staged), s.done, len(want))
	}
}
