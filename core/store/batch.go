package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
)

// A batch is changes to a state, over the state. Nothing else changes the state meanwhile, so
// that single keys need no iterator, which looks at every level: what was read or written before
// is found in the memtable, and there the search ends. A reader is opened for ranges.
type batch struct {
	overlay
	s    *Store
	id   shard.Replica
	base *reader
	lent arena
	key  []byte
	err  error // of a Get
	done bool
}

// Begin implements shard.States.
func (s *Store) Begin(id shard.Replica) shard.Batch { return &batch{s: s, id: id} }

func (b *batch) reader() *reader {
	if b.base == nil {
		b.base = b.s.read(b.id, false)
		b.base.walks = b.base.point != nil
	}
	return b.base
}

// Get implements channel.Reader.
func (b *batch) Get(key []byte) ([]byte, bool) {
	if v, ok, known := b.get(key); known {
		return v, ok
	}
	if b.err == nil {
		b.err = b.s.Err() // after Close the database is not there any more
	}
	if b.err != nil || b.done {
		return nil, false
	}
	if b.key == nil {
		b.key = appendReplica(make([]byte, 0, 256), b.id)
	}
	b.key = append(b.key[:replicaLen], key...)
	v, from, err := b.s.state.Get(b.key)
	if err == nil {
		v = b.lent.copy(v)
		err = from.Close()
	}
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, false
	case err != nil:
		b.err = b.s.fail("read state", err)
		return nil, false
	}
	return v, true
}

// Ascend implements channel.Reader.
func (b *batch) Ascend(from, to []byte) iter.Seq2[[]byte, []byte] { return b.walk(from, to, false) }

// Descend implements channel.Reader.
func (b *batch) Descend(from, to []byte) iter.Seq2[[]byte, []byte] { return b.walk(from, to, true) }

func (b *batch) walk(from, to []byte, down bool) iter.Seq2[[]byte, []byte] {
	ops := b.between(from, to)
	if len(ops) == 0 {
		return b.reader().walk(from, to, down)
	}
	return func(yield func(k, v []byte) bool) { b.merge(from, to, down, ops, yield) }
}

// merge yields what the database has and what was changed, which goes first where both have a key.
func (b *batch) merge(from, to []byte, down bool, ops []int, yield func(k, v []byte) bool) {
	r := b.reader()
	it := r.open(from, to)
	if it == nil {
		return
	}
	defer r.put(it)
	for ok := first(it, down); ; {
		var changed *op
		if len(ops) > 0 {
			changed = &b.ops[ops[0]]
			if down {
				changed = &b.ops[ops[len(ops)-1]]
			}
		}
		order := -1 // the database's comes first
		switch {
		case changed == nil && !ok:
			return
		case !ok:
			order = 1
		case changed != nil:
			order = bytes.Compare(it.Key()[replicaLen:], bytesOf(changed.key))
			if down {
				order = -order
			}
		}
		if order < 0 {
			k, v, whole := r.entry(it)
			if !whole || !yield(k, v) {
				return
			}
			ok = next(it, down)
			continue
		}
		if order == 0 && ok {
			ok = next(it, down)
		}
		if down {
			ops = ops[:len(ops)-1]
		} else {
			ops = ops[1:]
		}
		if !changed.deleted && !yield(bytesOf(changed.key), changed.value) {
			return
		}
	}
}

// Commit implements shard.Batch.
func (b *batch) Commit() error {
	if b.done {
		return errClosedBatch
	}
	defer b.Close()
	if b.err == nil && b.base != nil {
		b.err = b.base.err
	}
	if b.err != nil {
		return b.err
	}
	b.s.mu.RLock()
	_, err := b.s.known(b.id)
	b.s.mu.RUnlock()
	if err := cmp.Or(b.s.Err(), err); err != nil {
		return fmt.Errorf("commit to the state of %v: %w", b.id, err)
	}
	if len(b.ops) == 0 {
		return nil
	}
	size := 64
	for i := range b.ops {
		size += replicaLen + 16 + len(b.ops[i].key) + len(b.ops[i].value)
	}
	to := b.s.state.NewBatchWithSize(size)
	defer to.Close()
	if err := b.write(to); err != nil {
		return b.s.fail("write state", err)
	}
	if err := b.s.state.Apply(to, pebble.NoSync); err != nil {
		return b.s.fail("write state", err)
	}
	b.s.flushes.changed()
	return nil
}

func (b *batch) write(to *pebble.Batch) error {
	for i := range b.ops {
		o := &b.ops[i]
		var d *pebble.DeferredBatchOp
		if o.deleted {
			d = to.DeleteDeferred(replicaLen + len(o.key))
		} else {
			d = to.SetDeferred(replicaLen+len(o.key), len(o.value))
			copy(d.Value, o.value)
		}
		copy(d.Key[len(appendReplica(d.Key[:0], b.id)):], o.key)
		if err := d.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// Close implements shard.Batch.
func (b *batch) Close() {
	b.done = true
	if b.base != nil {
		b.base.Close()
		b.base = nil
	}
}

// A genesisView is a first state being written: it begins empty.
type genesisView struct {
	overlay
	commit *commit
	id     shard.Replica
}

var _ channel.View = (*genesisView)(nil)

// Get implements channel.Reader.
func (g *genesisView) Get(key []byte) ([]byte, bool) {
	v, ok, _ := g.get(key)
	return v, ok
}

// Ascend implements channel.Reader.
func (g *genesisView) Ascend(from, to []byte) iter.Seq2[[]byte, []byte] {
	return g.walk(g.between(from, to))
}

// Descend implements channel.Reader.
func (g *genesisView) Descend(from, to []byte) iter.Seq2[[]byte, []byte] {
	ops := g.between(from, to)
	down := make([]int, 0, len(ops))
	for i := range ops {
		down = append(down, ops[len(ops)-1-i])
	}
	return g.walk(down)
}

func (g *genesisView) walk(ops []int) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for _, i := range ops {
			if o := &g.ops[i]; !o.deleted && !yield(bytesOf(o.key), o.value) {
				return
			}
		}
	}
}

// write puts the state into both batches.
func (g *genesisView) write() error {
	in, of := appendKind(nil, g.id, kindGenesis), appendReplica(nil, g.id)
	for i := range g.ops {
		o := &g.ops[i]
		if o.deleted {
			continue
		}
		if err := g.commit.log.Set(append(in[:len(in):len(in)], o.key...), o.value, nil); err != nil {
			return err
		}
		if err := g.commit.state.Set(append(of[:len(of):len(of)], o.key...), o.value, nil); err != nil {
			return err
		}
	}
	return nil
}
