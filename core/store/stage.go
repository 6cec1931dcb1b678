package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/meridian-relay/meridian/core/shard"
)

// A stageID names a staging, and its folder under staging/.
type stageID struct {
	replica shard.Replica
	at      shard.Place
}

func (id stageID) String() string {
	return fmt.Sprintf("%d-%d-%d-%d", id.replica.Shard, id.replica.Number, id.at.Index, id.at.Term)
}

func parseStageID(name string) (id stageID, ok bool) {
	n, err := fmt.Sscanf(name, "%d-%d-%d-%d", &id.replica.Shard, &id.replica.Number, &id.at.Index, &id.at.Term)
	return id, err == nil && n == 4 && id.String() == name
}

// A staging gathers a state in sorted tables. A table that is complete is synced, and then
// progressName says how far the staging is: it goes on there after a restart.
type staging struct {
	s    *Store
	id   stageID
	dir  string
	from []byte
	done bool

	files int // complete ones: 1.sst to files.sst
	table *sstable.Writer
	size  int
	taken bool
	gone  bool
}

const (
	progressName = "PROGRESS"
	tableBytes   = 16 << 20
	// maxKept is more than a chunk has, in bytes of keys and values: the longest frame of core/peer.
	maxKept = 8 << 20
)

// Stage implements shard.States.
func (s *Store) Stage(replica shard.Replica, at shard.Place) (shard.Staging, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	n := &s.snapshots
	n.opening.Lock()
	defer n.opening.Unlock()
	id := stageID{replica, at}
	if st, count := n.staging(id); st != nil {
		return st, nil
	} else if count >= s.cfg.Staged {
		return nil, shard.ErrBusy
	}
	if err := s.dropOlder(id); err != nil {
		return nil, s.fail("stage a state", err)
	}
	st := &staging{s: s, id: id, dir: s.fs.PathJoin(s.cfg.Dir, stagingName, id.String())}
	if err := st.resume(); err != nil {
		return nil, s.fail("stage a state", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.staged == nil {
		n.staged = make(map[stageID]*staging)
	}
	n.staged[id] = st
	return st, nil
}

// staging returns the one of an id, or nil, and how many there are.
func (n *snapshots) staging(id stageID) (*staging, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.staged[id], len(n.staged)
}

// dropOlder removes what was staged for the same replica at other places.
func (s *Store) dropOlder(id stageID) error {
	dir := s.fs.PathJoin(s.cfg.Dir, stagingName)
	names, err := s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		other, ok := parseStageID(name)
		if !ok || other == id || other.replica != id.replica {
			continue
		}
		if st, _ := s.snapshots.staging(other); st != nil {
			continue
		}
		if err := s.fs.RemoveAll(s.fs.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// loadStaged removes what Open finds staged and nobody will ask for.
func (s *Store) loadStaged() error {
	dir := s.fs.PathJoin(s.cfg.Dir, stagingName)
	names, err := s.fs.List(dir)
	if err != nil {
		return s.fault("list what is staged", err)
	}
	kept := 0
	for _, name := range names {
		id, ok := parseStageID(name)
		if r := s.replicas[id.replica]; r != nil && r.trunc.Index >= id.at.Index || s.removed[id.replica] {
			ok = false
		}
		if ok = ok && kept < s.cfg.Staged; ok {
			kept++
			continue
		}
		if err := s.fs.RemoveAll(s.fs.PathJoin(dir, name)); err != nil {
			return s.fault("remove what was staged", err)
		}
	}
	return nil
}

// resume goes on where an earlier process was.
func (st *staging) resume() error {
	fsys := st.s.fs
	if err := makeDir(fsys, st.dir); err != nil {
		return err
	}
	f, err := fsys.Open(fsys.PathJoin(st.dir, progressName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	r := newRecord(b)
	files, done := r.uint(), r.uint() == 1
	if r.bad {
		return nil // it begins anew
	}
	st.files, st.done = int(files), done
	if !done {
		st.from = bytes.Clone(r.b)
	}
	return nil
}

func (st *staging) path(n int) string {
	return st.s.fs.PathJoin(st.dir, fmt.Sprintf("%d.sst", n))
}

// At implements shard.Staging.
func (st *staging) At() shard.Place { return st.id.at }

// From implements shard.Staging.
func (st *staging) From() ([]byte, bool) { return st.from, st.done }

// endOfKeys is beyond every key of a state: their first bytes are below 0xff.
var endOfKeys = []byte{0xff}

func upTo(to []byte) []byte {
	if len(to) == 0 {
		return endOfKeys
	}
	return to
}

// Keep implements shard.Staging.
func (st *staging) Keep(from, to []byte, sum uint64) (bool, error) {
	r := st.s.read(st.id.replica, false)
	defer r.Close()
	c := shard.Chunk{From: from, To: to, Sum: sum}
	size := 0
	for k, v := range r.Ascend(from, upTo(to)) {
		// The leader's chunk is not that large: it has trimmed what is here.
		if size += len(k) + len(v); size > maxKept {
			return false, nil
		}
		c.Keys, c.Values = append(c.Keys, k), append(c.Values, v)
	}
	if err := r.Err(); err != nil {
		return false, err
	}
	if len(c.Keys) == 0 || c.Hash() != sum {
		return false, nil
	}
	return true, st.Put(c)
}

// Put implements shard.Staging.
func (st *staging) Put(c shard.Chunk) error {
	switch {
	case st.gone || st.taken:
		return fmt.Errorf("staged state of %v is closed", st.id.replica)
	case st.done || !bytes.Equal(c.From, st.from):
		return fmt.Errorf("chunk from %x: the staged state of %v goes on at %x (done: %t)", c.From, st.id.replica, st.from, st.done)
	case c.Hash() != c.Sum:
		return fmt.Errorf("chunk from %x of %v: its sum is %x, not %x as it says", c.From, st.id.replica, c.Hash(), c.Sum)
	}
	last, end := c.From, upTo(c.To)
	for i, k := range c.Keys {
		if order := bytes.Compare(last, k); order > 0 || order == 0 && i > 0 || bytes.Compare(k, end) >= 0 {
			return fmt.Errorf("chunk from %x to %x of %v has key %x out of order", c.From, c.To, st.id.replica, k)
		}
		last = k
	}
	if err := st.write(&c); err != nil {
		return st.s.fail("stage a state", err)
	}
	return nil
}

func (st *staging) write(c *shard.Chunk) error {
	if st.table == nil && len(c.Keys) > 0 {
		f, err := st.s.fs.Create(st.path(st.files+1), category)
		if err != nil {
			return err
		}
		o := st.s.stateOptions()
		o.EnsureDefaults()
		w := o.MakeWriterOptions(len(o.Levels)-1, st.s.state.TableFormat())
		st.table, st.size = sstable.NewWriter(objstorageprovider.NewFileWritable(f), w), 0
	}
	var key []byte
	for i, k := range c.Keys {
		key = append(appendReplica(key[:0], st.id.replica), k...)
		if err := st.table.Set(key, c.Values[i]); err != nil {
			return err
		}
		st.size += len(key) + len(c.Values[i])
	}
	st.from, st.done = bytes.Clone(c.To), len(c.To) == 0
	if st.done || st.size >= tableBytes {
		return st.finish()
	}
	return nil
}

// finish completes a table, and notes how far the staging is.
func (st *staging) finish() error {
	if st.table != nil {
		if err := st.table.Close(); err != nil {
			return err
		}
		st.table = nil
		st.files++
	}
	done := uint64(0)
	if st.done {
		done = 1
	}
	fsys, path := st.s.fs, st.s.fs.PathJoin(st.dir, progressName)
	b := appendNumbers([]byte{recordVersion}, uint64(st.files), done)
	if err := writeFile(fsys, path+".new", append(b, st.from...)); err != nil {
		return err
	}
	if err := fsys.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(fsys, st.dir)
}

// Close implements shard.Staging.
func (st *staging) Close() {
	if st.taken || st.gone {
		return
	}
	st.forget()
	if st.table != nil {
		st.table.Close()
	}
	if err := st.s.fs.RemoveAll(st.dir); err != nil {
		st.s.cfg.Logger.Warn("staged state stays", "dir", st.dir, "err", err)
	}
}

func (st *staging) forget() {
	st.gone = true
	st.s.snapshots.mu.Lock()
	delete(st.s.snapshots.staged, st.id)
	st.s.snapshots.mu.Unlock()
}

// ingest puts a staged state in place of a replica's, durably.
func (s *Store) ingest(ctx context.Context, id shard.Replica, staged shard.Staging) error {
	st, ok := staged.(*staging)
	if !ok || st.id.replica != id || !st.done || st.gone || st.taken {
		return fmt.Errorf("state staged for %v: it is not all there, or another's", id)
	}
	st.taken = true
	// What the memtable has of this replica is flushed before: taking the tables in would else
	// hold up all other states meanwhile.
	if err := s.flushStates(); err != nil {
		return err
	}
	span := pebble.KeyRange{Start: appendReplica(nil, id), End: appendAfter(nil, id)}
	var paths []string
	for n := 1; n <= st.files; n++ {
		paths = append(paths, st.path(n))
	}
	if _, err := s.state.IngestAndExcise(ctx, paths, nil, nil, span); err != nil {
		return err
	}
	at, err := s.applied(id)
	if err == nil && at != st.id.at {
		err = fmt.Errorf("%w: the state staged for %v at entry %d stands at %d", ErrDamaged, id, st.id.at.Index, at.Index)
	}
	if err != nil {
		return err
	}
	st.forget()
	return s.fs.RemoveAll(st.dir)
}
