package store

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meridian-relay/meridian/core/shard"
)

// A commit is one batch being built.
type commit struct {
	s     *Store
	log   *pebble.Batch
	state *pebble.Batch // first states; nil: none
	jobs  []job         // those that are in it
	sync  bool
	after []func() error
	seen  map[shard.Replica]*outline
	key   []byte
}

// An outline is where a replica will stand after the batch.
type outline struct {
	exists, removed, genesis bool
	trunc, last              uint64
}

func (c *commit) outline(id shard.Replica) *outline {
	if o := c.seen[id]; o != nil {
		return o
	}
	c.s.mu.RLock()
	o := &outline{removed: c.s.removed[id]}
	if r := c.s.replicas[id]; r != nil {
		*o = outline{exists: true, genesis: r.genesis, trunc: r.trunc.Index, last: r.last.Index}
	}
	c.s.mu.RUnlock()
	c.seen[id] = o
	return o
}

// job puts a Write into the batch, or behind a state that is being taken in.
func (c *commit) job(j job) error {
	w, held := j.write, c.s.loop.held
	if j.taken {
		if err := c.write(j); err != nil {
			return err
		}
		rest := held[w.Replica]
		delete(held, w.Replica)
		for _, next := range rest {
			if err := c.job(next); err != nil {
				return err
			}
		}
		return nil
	}
	if waits, ok := held[w.Replica]; ok {
		held[w.Replica] = append(waits, j)
		return nil
	}
	if w.Staged != nil {
		held[w.Replica] = nil
		c.s.takeIn(j)
		return nil
	}
	return c.write(j)
}

func (c *commit) write(j job) error {
	w := j.write
	o := c.outline(w.Replica)
	if w.Create && !o.exists {
		if err := c.create(w, o); err != nil {
			return err
		}
	}
	if !o.exists {
		return fmt.Errorf("write for %v, which does not exist (removed: %t)", w.Replica, o.removed)
	}
	if w.Staged != nil {
		at := w.Staged.At()
		if err := c.dropGenesis(w.Replica, o); err != nil {
			return err
		}
		if err := reset(c.log, w.Replica, nil, at); err != nil {
			return err
		}
		o.trunc, o.last = at.Index, at.Index
	}
	if w.Hard != nil {
		c.key = appendKind(c.key[:0], w.Replica, kindHard)
		if err := c.log.Set(c.key, appendHard(nil, w.Hard), nil); err != nil {
			return err
		}
	}
	if err := c.entries(w, o); err != nil {
		return err
	}
	if w.Trunc.Index > o.trunc {
		if err := c.truncate(w, o); err != nil {
			return err
		}
	}
	if w.Remove {
		if err := c.remove(w.Replica, o); err != nil {
			return err
		}
	}
	c.jobs = append(c.jobs, j)
	c.sync = c.sync || w.Sync || len(c.after) > 0
	return nil
}

// create makes a replica, and removes those that came before it.
func (c *commit) create(w *shard.Write, o *outline) error {
	if o.removed {
		return fmt.Errorf("create %v, which was removed: numbers are never used again", w.Replica)
	}
	for _, id := range c.s.Replicas() {
		if older := c.outline(id); id.Shard == w.Replica.Shard && id.Number < w.Replica.Number && older.exists {
			if err := c.remove(id, older); err != nil {
				return err
			}
		}
	}
	for id, other := range c.seen { // created in this batch
		if id.Shard == w.Replica.Shard && id.Number < w.Replica.Number && other.exists {
			if err := c.remove(id, other); err != nil {
				return err
			}
		}
	}
	o.exists = true
	version := []byte{recordVersion}
	if err := c.log.Set(appendKind(nil, w.Replica, kindExists), version, nil); err != nil {
		return err
	}
	if w.Genesis == nil {
		return nil
	}
	if c.state == nil {
		c.state = c.s.state.NewBatch()
	}
	g := &genesisView{commit: c, id: w.Replica}
	if err := w.Genesis.Write(g); err != nil {
		return err
	}
	if err := g.write(); err != nil {
		return err
	}
	o.genesis, o.trunc, o.last = true, shard.Origin.Index, shard.Origin.Index
	return c.log.Set(appendKind(nil, w.Replica, kindTrunc), appendPlace(nil, shard.Origin), nil)
}

func (c *commit) entries(w *shard.Write, o *outline) error {
	if len(w.Entries) == 0 {
		return nil
	}
	first := w.Entries[0].GetIndex()
	if first <= o.trunc || first > o.last+1 {
		return fmt.Errorf("entry %d of %v, whose log has %d to %d", first, w.Replica, o.trunc+1, o.last)
	}
	last := first - 1
	for _, e := range w.Entries {
		if last++; e.GetIndex() != last {
			return fmt.Errorf("entry %d of %v in place of %d", e.GetIndex(), w.Replica, last)
		}
		var head [entryOverhead]byte
		h := appendEntryHead(head[:0], e)
		op := c.log.SetDeferred(replicaLen+1+8, len(h)+len(e.GetData()))
		appendEntryKey(op.Key[:0], w.Replica, last)
		copy(op.Value[copy(op.Value, h):], e.GetData())
		if err := op.Finish(); err != nil {
			return err
		}
	}
	if last < o.last {
		from, to := appendEntryKey(nil, w.Replica, last+1), appendEntryKey(nil, w.Replica, o.last+1)
		if err := c.log.DeleteRange(from, to, nil); err != nil {
			return err
		}
	}
	o.last = last
	return nil
}

func (c *commit) truncate(w *shard.Write, o *outline) error {
	if w.Trunc.Index > o.last {
		return fmt.Errorf("truncate %v to entry %d: the log ends with %d", w.Replica, w.Trunc.Index, o.last)
	}
	if err := c.dropGenesis(w.Replica, o); err != nil {
		return err
	}
	from, to := appendEntryKey(nil, w.Replica, o.trunc+1), appendEntryKey(nil, w.Replica, w.Trunc.Index+1)
	if err := c.log.DeleteRange(from, to, nil); err != nil {
		return err
	}
	o.trunc = w.Trunc.Index
	return c.log.Set(appendKind(nil, w.Replica, kindTrunc), appendPlace(nil, w.Trunc), nil)
}

// dropGenesis forgets a first state that the log has: the state itself is durable.
func (c *commit) dropGenesis(id shard.Replica, o *outline) error {
	if !o.genesis {
		return nil
	}
	o.genesis = false
	return c.log.DeleteRange(appendKind(nil, id, kindGenesis), appendKind(nil, id, kindGenesis+1), nil)
}

// remove removes a replica. Its state goes only after the log says so, durably: a log without
// its state is damage.
func (c *commit) remove(id shard.Replica, o *outline) error {
	*o = outline{removed: true}
	from, to := appendReplica(nil, id), appendAfter(nil, id)
	if err := c.log.DeleteRange(from, to, nil); err != nil {
		return err
	}
	c.after = append(c.after, func() error { return c.s.state.DeleteRange(from, to, pebble.NoSync) })
	return c.log.Set(appendKind(nil, id, kindRemoved), []byte{recordVersion}, nil)
}

// reset makes a replica's log empty after at.
func reset(b *pebble.Batch, id shard.Replica, r *replica, at shard.Place) error {
	if r != nil {
		r.reset(at)
	}
	if err := b.DeleteRange(appendKind(nil, id, kindEntry), appendKind(nil, id, kindEntry+1), nil); err != nil {
		return err
	}
	return b.Set(appendKind(nil, id, kindTrunc), appendPlace(nil, at), nil)
}

// note remembers what was written.
func (s *Store) note(jobs []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		s.noteOne(j.write)
	}
}

func (s *Store) noteOne(w *shard.Write) {
	id := w.Replica
	r := s.replicas[id]
	if r == nil { // w.Create
		for other := range s.replicas {
			if other.Shard == id.Shard && other.Number < id.Number {
				s.noteRemoved(other)
			}
		}
		r = newReplica()
		if w.Genesis != nil {
			r.genesis = true
			r.reset(shard.Origin)
		}
		s.replicas[id] = r
	}
	if w.Staged != nil {
		r.genesis = false
		r.reset(w.Staged.At())
	}
	if w.Hard != nil {
		r.hard = w.Hard
	}
	for i, e := range w.Entries {
		if index := e.GetIndex(); i == 0 && index <= r.last.Index {
			r.cut(index)
		}
		size := len(e.GetData()) + entryOverhead
		r.add(shard.Place{Index: e.GetIndex(), Term: e.GetTerm()}, size)
		s.flushes.logged.Add(uint64(size))
	}
	if w.Trunc.Index > r.trunc.Index {
		r.genesis = false
		was := r.bytes.total
		r.truncate(w.Trunc)
		s.flushes.truncated(was-r.bytes.total, s.cfg.LogMemory)
	}
	if w.Remove {
		s.noteRemoved(id)
	}
}

func (s *Store) noteRemoved(id shard.Replica) {
	delete(s.replicas, id)
	s.removed[id] = true
}

// takeIn puts a staged state in place of a replica's, and hands the Write back to the loop.
func (s *Store) takeIn(j job) {
	s.loop.taking.Go(func() {
		s.guard(func() {
			if err := s.ingest(context.Background(), j.write.Replica, j.write.Staged); err != nil {
				s.fail("take in a staged state", err)
				return
			}
			j.taken = true
			s.loop.submit(j, true)
		})
	})
}
