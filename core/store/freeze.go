package store

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// frozenIdle is how long a frozen state that nobody reads stays when another one is wanted.
const frozenIdle = time.Minute

// snapshots are the states that are sent and received just now.
type snapshots struct {
	// opening is held while a staging is opened, which takes as long as the disk does.
	opening sync.Mutex
	// mu is held for no I/O: whoever freezes a state must not wait for one that is staged.
	mu     sync.Mutex
	frozen map[*frozen]struct{}
	staged map[stageID]*staging
}

// A frozen is a state as it stood at one moment. An iterator holds it: what it sees stays on the
// disk, also when the replica is removed or another state takes its place.
type frozen struct {
	s          *Store
	at         shard.Place
	descriptor shard.Descriptor

	mu           sync.Mutex
	r            *reader // nil: closed
	used         time.Time
	keys, values [][]byte
}

// Freeze implements shard.States.
func (s *Store) Freeze(id shard.Replica) (shard.Frozen, error) {
	s.mu.RLock()
	_, err := s.known(id)
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	f := &frozen{s: s, r: s.read(id, false), used: time.Now()}
	at, ok := shard.ReadApplied(f.r)
	d, also := shard.ReadDescriptor(f.r)
	if err := f.r.Err(); err != nil || !ok || !also {
		f.r.Close()
		if err == nil {
			err = fmt.Errorf("freeze %v: it has no state: %w", id, shard.ErrNoReplica)
		}
		return nil, err
	}
	f.at, f.descriptor = at, d
	if !s.snapshots.add(f, s.cfg.Frozen) {
		f.Close()
		return nil, shard.ErrBusy
	}
	return f, nil
}

// add adds a frozen state, in place of one that nobody reads if there are too many.
func (n *snapshots) add(f *frozen, most int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.frozen) >= most {
		for old := range n.frozen {
			if old.drop(frozenIdle) {
				delete(n.frozen, old)
			}
		}
	}
	if len(n.frozen) >= most {
		return false
	}
	if n.frozen == nil {
		n.frozen = make(map[*frozen]struct{})
	}
	n.frozen[f] = struct{}{}
	return true
}

// drop closes the iterator if nobody used it for so long.
func (f *frozen) drop(idle time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.used) < idle {
		return false
	}
	if f.r != nil {
		f.r.Close()
		f.r = nil
	}
	return true
}

// At implements shard.Frozen.
func (f *frozen) At() shard.Place { return f.at }

// Descriptor implements shard.Frozen.
func (f *frozen) Descriptor() shard.Descriptor { return f.descriptor }

// Close implements shard.Frozen.
func (f *frozen) Close() {
	f.drop(0)
	f.s.snapshots.mu.Lock()
	delete(f.s.snapshots.frozen, f)
	f.s.snapshots.mu.Unlock()
}

// Chunk implements shard.Frozen.
func (f *frozen) Chunk(from []byte, size int) (shard.Chunk, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.r == nil {
		return shard.Chunk{}, fmt.Errorf("frozen state at entry %d was given up after %v without a reader", f.at.Index, frozenIdle)
	}
	f.used = time.Now()
	f.r.lent = arena{}
	c := shard.Chunk{From: bytes.Clone(from)}
	c.Keys, c.Values = f.keys[:0], f.values[:0]
	n := 0
	for k, v := range f.r.Ascend(from, endOfKeys) {
		if len(c.Keys) > 0 && n >= size {
			c.To = k
			break
		}
		n += len(k) + len(v)
		c.Keys, c.Values = append(c.Keys, k), append(c.Values, v)
	}
	f.keys, f.values = c.Keys, c.Values
	c.Sum = c.Hash()
	return c, f.r.Err()
}

// closeSnapshots closes what callers left open. What is staged stays, for the next process.
func (s *Store) closeSnapshots() {
	s.snapshots.mu.Lock()
	defer s.snapshots.mu.Unlock()
	for f := range s.snapshots.frozen {
		f.drop(0)
	}
	clear(s.snapshots.frozen)
	for _, st := range s.snapshots.staged {
		if st.gone = true; st.table != nil && s.Err() == nil {
			_ = st.table.Close() // it is written anew
			st.table = nil
		}
	}
	clear(s.snapshots.staged)
}
