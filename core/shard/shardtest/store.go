// Package shardtest is a store in memory for shard.Host: what it writes is lost by a Crash unless
// it was synced or flushed, as on a disk. Its suite is what every store has to pass.
package shardtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/planted"
)

// ErrDamaged: a record in the midst of the log cannot be read.
var ErrDamaged = errors.New("shardtest: a record of the log is damaged")

// A Store is log and states of one node. Safe for concurrent use.
type Store struct {
	mu       sync.Mutex
	now      disk           // what a process sees
	durable  disk           // what a crash leaves; its states are of the last flush
	unsynced []*shard.Write // in now, and not in durable
	frozen   int
	staged   map[stageID]*Staging
	fail     error
}

var (
	_ shard.Log    = (*Store)(nil)
	_ shard.States = (*Store)(nil)
)

// A disk is one image of everything.
type disk struct {
	logs   map[shard.Replica]*log
	states map[shard.Replica]*memview.View // each is never changed, but replaced
	gone   map[shard.ID]shard.Number       // numbers up to this one were removed
}

// A log is a replica's.
type log struct {
	hard    *raftpb.HardState
	trunc   shard.Place
	entries []*raftpb.Entry // after trunc, without holes
	bytes   uint64
	damaged uint64 // the index of an entry that cannot be read; 0: none
}

func newDisk() disk {
	return disk{
		logs:   make(map[shard.Replica]*log),
		states: make(map[shard.Replica]*memview.View),
		gone:   make(map[shard.ID]shard.Number),
	}
}

// New returns an empty Store.
func New() *Store {
	return &Store{now: newDisk(), durable: newDisk(), staged: make(map[stageID]*Staging)}
}

// Fail makes all writes from now on fail with err, as a disk does at its end; nil: no more.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Write does w. It is durable after the next Sync.
func (s *Store) Write(w *shard.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	// A state that comes by a Write is as durable as the Write.
	staged, _ := w.Staged.(*Staging)
	if staged != nil {
		if _, done := staged.From(); !done {
			return fmt.Errorf("shardtest: %v: a state is taken in that is not all there", w.Replica)
		}
	}
	if err := s.now.write(w); err != nil {
		return err
	}
	if staged != nil {
		staged.taken = true
		delete(s.staged, stageID{staged.replica, staged.at})
	}
	s.unsynced = append(s.unsynced, w)
	return nil
}

// Sync makes all writes durable.
func (s *Store) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sync(len(s.unsynced))
}

func (s *Store) sync(n int) error {
	if s.fail != nil {
		return s.fail
	}
	for _, w := range s.unsynced[:n] {
		if err := s.durable.write(w); err != nil {
			return err
		}
	}
	s.unsynced = slices.Delete(s.unsynced, 0, n)
	return nil
}

// Unsynced returns how many writes a crash may lose.
func (s *Store) Unsynced() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unsynced)
}

// Flush makes the states durable as they stand.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for r, v := range s.now.states {
		if s.durable.logs[r] != nil { // one whose making is not durable goes with that
			s.durable.states[r] = v
		}
	}
	return nil
}

// Crash returns the store that a process finds after a power cut: of the writes that were not
// synced the first so many are there, where keep is told how many there were; then, if half says
// so and the next one takes in a state, that state without its log. Opening it fails if a record
// in the midst of the log is damaged.
func (s *Store) Crash(keep func(unsynced int) (kept int, half bool)) (*Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &Store{now: newDisk(), durable: s.durable.copy(), staged: make(map[stageID]*Staging)}
	kept, half := 0, false
	if keep != nil {
		kept, half = keep(len(s.unsynced))
	}
	for _, w := range s.unsynced[:kept] {
		if err := n.durable.write(w); err != nil {
			return nil, err
		}
	}
	if half && kept < len(s.unsynced) {
		if w := s.unsynced[kept]; w.Staged != nil && n.durable.logs[w.Replica] != nil {
			n.durable.states[w.Replica] = w.Staged.(*Staging).view
		}
	}
	if err := n.durable.check(); err != nil {
		return nil, err
	}
	n.durable.follow()
	n.now = n.durable.copy()
	return n, nil
}

// follow empties the logs that are behind their states. Only a crash between the halves of a
// snapshot leaves such: states are applied from what is durable in a log.
func (d *disk) follow() {
	for r, l := range d.logs {
		at, ok := shard.ReadApplied(d.states[r])
		if !ok || at.Index <= l.last().Index {
			continue
		}
		hard := &raftpb.HardState{Term: new(max(l.hard.GetTerm(), at.Term)), Commit: new(at.Index)}
		if l.hard.GetTerm() >= at.Term {
			hard.Vote = new(l.hard.GetVote())
		}
		*l = log{hard: hard, trunc: at}
	}
}

// Damage makes a replica's entry unreadable for whoever opens the store after a crash.
func (s *Store) Damage(r shard.Replica, index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.durable.logs[r]; l != nil {
		l.damaged = index
	}
}

// check refuses a log with a damaged record, unless it is the last one: that may be of a write
// that was never done.
func (d *disk) check() error {
	for _, r := range slices.SortedFunc(maps.Keys(d.logs), shard.Replica.Compare) {
		l := d.logs[r]
		if l.damaged <= l.trunc.Index || l.damaged > l.last().Index {
			continue
		}
		if l.damaged < l.last().Index && !planted.On(planted.TruncateAtDamage) {
			return fmt.Errorf("%w: entry %d of %v", ErrDamaged, l.damaged, r)
		}
		l.cut(l.damaged)
		l.damaged = 0
	}
	return nil
}

func (d *disk) copy() disk {
	n := disk{logs: make(map[shard.Replica]*log), states: maps.Clone(d.states), gone: maps.Clone(d.gone)}
	for r, l := range d.logs {
		c := *l
		c.entries = slices.Clone(l.entries)
		n.logs[r] = &c
	}
	return n
}

func (d *disk) write(w *shard.Write) error {
	r := w.Replica
	if w.Create {
		if err := d.create(w); err != nil {
			return err
		}
	}
	if w.Remove {
		d.remove(r)
		d.gone[r.Shard] = max(d.gone[r.Shard], r.Number)
		return nil
	}
	l := d.logs[r]
	if l == nil {
		return fmt.Errorf("shardtest: write to %v: %w", r, shard.ErrNoReplica)
	}
	if w.Staged != nil {
		st := w.Staged.(*Staging)
		d.states[r] = st.view
		*l = log{hard: l.hard, trunc: st.at}
	}
	if w.Hard != nil {
		l.hard = proto.CloneOf(w.Hard)
	}
	if len(w.Entries) > 0 {
		if first := w.Entries[0].GetIndex(); first <= l.trunc.Index || first > l.last().Index+1 {
			return fmt.Errorf("shardtest: %v: entry %d is written to a log of %d to %d",
				r, first, l.trunc.Index+1, l.last().Index)
		}
		l.cut(w.Entries[0].GetIndex())
		for _, e := range w.Entries {
			l.entries = append(l.entries, e)
			l.bytes += size(e)
		}
	}
	if w.Trunc.Index > l.trunc.Index {
		n := min(int(w.Trunc.Index-l.trunc.Index), len(l.entries))
		for _, e := range l.entries[:n] {
			l.bytes -= size(e)
		}
		l.entries = slices.Clone(l.entries[n:])
		l.trunc = w.Trunc
	}
	return nil
}

func (d *disk) create(w *shard.Write) error {
	r := w.Replica
	if d.gone[r.Shard] >= r.Number {
		return fmt.Errorf("shardtest: create %v: %w", r, shard.ErrRemoved)
	}
	if d.logs[r] != nil {
		return nil
	}
	for o := range d.logs {
		if o.Shard == r.Shard && o.Number < r.Number {
			d.remove(o)
			d.gone[r.Shard] = max(d.gone[r.Shard], o.Number)
		}
	}
	l := &log{hard: &raftpb.HardState{}}
	v := memview.New()
	if w.Genesis != nil {
		if err := w.Genesis.Write(v); err != nil {
			return err
		}
		l.trunc = shard.Origin
	}
	d.logs[r], d.states[r] = l, v
	return nil
}

func (d *disk) remove(r shard.Replica) {
	delete(d.logs, r)
	delete(d.states, r)
}

// cut removes the entries from index on.
func (l *log) cut(index uint64) {
	n := int(index - l.trunc.Index - 1)
	if n >= len(l.entries) {
		return
	}
	for _, e := range l.entries[n:] {
		l.bytes -= size(e)
	}
	l.entries = slices.Clip(l.entries[:n])
}

func (l *log) last() shard.Place {
	if n := len(l.entries); n > 0 {
		return shard.Place{Index: l.entries[n-1].GetIndex(), Term: l.entries[n-1].GetTerm()}
	}
	return l.trunc
}

func size(e *raftpb.Entry) uint64 { return uint64(len(e.GetData())) + 24 }
