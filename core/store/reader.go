package store

import (
	"bytes"
	"errors"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meridian-relay/meridian/core/shard"
)

// A reader reads one replica's state. All its iterators see the same moment: they are clones of
// the first one. What is lent are copies.
type reader struct {
	s      *Store
	prefix []byte           // of all keys
	point  *pebble.Iterator // for Get
	walks  bool             // nobody calls Get, and point is free for a range
	idle   []*pebble.Iterator
	lent   arena
	key    []byte
	to     []byte
	err    error
}

// Read implements shard.States. A state that does not exist is empty.
func (s *Store) Read(id shard.Replica, durable bool) shard.Reader { return s.read(id, durable) }

func (s *Store) read(id shard.Replica, durable bool) *reader {
	r := s.readKeys(s.state, appendReplica(nil, id), appendAfter(nil, id), durable)
	if !durable {
		return r
	}
	s.mu.RLock()
	first := s.replicas[id] != nil && s.replicas[id].genesis
	s.mu.RUnlock()
	if _, ok := shard.ReadApplied(r); !first || ok {
		return r
	}
	// The first state is durable in the log, until the states' next flush.
	r.Close()
	return s.readKeys(s.log, appendKind(nil, id, kindGenesis), appendKind(nil, id, kindGenesis+1), false)
}

// readKeys returns a reader over the keys of a database that begin with prefix.
func (s *Store) readKeys(db *pebble.DB, prefix, end []byte, durable bool) *reader {
	r := &reader{s: s, prefix: prefix, key: make([]byte, 0, 128), lent: arena{pool: &s.blocks}}
	if r.err = s.Err(); r.err != nil {
		return r
	}
	it, err := db.NewIter(&pebble.IterOptions{
		LowerBound: prefix, UpperBound: end, OnlyReadGuaranteedDurable: durable,
	})
	if err != nil {
		r.fail(err)
		return r
	}
	r.point = it
	return r
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = r.s.fail("read state", err)
	}
}

// Err implements shard.Reader.
func (r *reader) Err() error { return r.err }

// Forget gives back what was lent: the reader lends anew.
func (r *reader) Forget() { r.lent.reset() }

// Close implements shard.Reader.
func (r *reader) Close() {
	for _, it := range r.idle {
		if err := it.Close(); err != nil {
			r.fail(err)
		}
	}
	r.idle = nil
	if r.point != nil {
		if err := r.point.Close(); err != nil {
			r.fail(err)
		}
		r.point = nil
	}
	r.lent = arena{}
}

func (r *reader) prefixed(key []byte) []byte {
	r.key = append(append(r.key[:0], r.prefix...), key...)
	return r.key
}

// Get implements channel.Reader.
func (r *reader) Get(key []byte) ([]byte, bool) {
	if r.err != nil {
		return nil, false
	}
	k := r.prefixed(key)
	if !r.point.SeekPrefixGE(k) || !bytes.Equal(r.point.Key(), k) {
		if err := r.point.Error(); err != nil {
			r.fail(err)
		}
		return nil, false
	}
	v, err := r.point.ValueAndErr()
	if err != nil {
		r.fail(err)
		return nil, false
	}
	return r.lent.copy(v), true
}

// open returns an iterator over from <= key < to; nil after an error.
func (r *reader) open(from, to []byte) *pebble.Iterator {
	if r.err != nil {
		return nil
	}
	var it *pebble.Iterator
	if r.walks {
		it, r.walks = r.point, false
	} else if n := len(r.idle); n > 0 {
		it, r.idle = r.idle[n-1], r.idle[:n-1]
	} else {
		var err error
		if it, err = r.point.Clone(pebble.CloneOptions{}); err != nil {
			r.fail(err)
			return nil
		}
	}
	r.to = append(append(r.to[:0], r.prefix...), to...)
	it.SetBounds(r.prefixed(from), r.to)
	return it
}

// put takes an iterator back.
func (r *reader) put(it *pebble.Iterator) {
	if err := it.Error(); err != nil {
		r.fail(err)
	}
	if it == r.point {
		r.walks = true
	} else {
		r.idle = append(r.idle, it)
	}
}

// entry returns what an iterator stands at, lent; false after an error.
func (r *reader) entry(it *pebble.Iterator) (key, value []byte, ok bool) {
	v, err := it.ValueAndErr()
	if err != nil {
		r.fail(err)
		return nil, nil, false
	}
	return r.lent.copy(it.Key()[len(r.prefix):]), r.lent.copy(v), true
}

// Ascend implements channel.Reader.
func (r *reader) Ascend(from, to []byte) iter.Seq2[[]byte, []byte] { return r.walk(from, to, false) }

// Descend implements channel.Reader.
func (r *reader) Descend(from, to []byte) iter.Seq2[[]byte, []byte] { return r.walk(from, to, true) }

func (r *reader) walk(from, to []byte, down bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		if bytes.Compare(from, to) >= 0 {
			return
		}
		it := r.open(from, to)
		if it == nil {
			return
		}
		defer r.put(it)
		for ok := first(it, down); ok; ok = next(it, down) {
			k, v, ok := r.entry(it)
			if !ok || !yield(k, v) {
				return
			}
		}
	}
}

func first(it *pebble.Iterator, down bool) bool {
	if down {
		return it.Last()
	}
	return it.First()
}

func next(it *pebble.Iterator, down bool) bool {
	if down {
		return it.Prev()
	}
	return it.Next()
}

var errClosedBatch = errors.New("batch is closed")
