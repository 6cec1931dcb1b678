package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/planted"
)

// A replica is what the store knows of a log without reading it.
//
// Invariant: entries stand at trunc.Index+1 to last.Index, without a hole.
type replica struct {
	hard        *raftpb.HardState // replaced, never changed
	trunc, last shard.Place
	terms       []shard.Place // where each term begins, of trunc and the entries
	bytes       sizes
	genesis     bool // its first state stands in the log
}

func newReplica() *replica {
	zero := uint64(0)
	return &replica{hard: &raftpb.HardState{Term: &zero, Vote: &zero, Commit: &zero}}
}

// term returns an entry's term.
func (r *replica) term(index uint64) (uint64, error) {
	if index < r.trunc.Index {
		return 0, shard.ErrTruncated
	}
	if index > r.last.Index {
		return 0, shard.ErrTruncated
	}
	for i := len(r.terms) - 1; i >= 0; i-- {
		if r.terms[i].Index <= index {
			return r.terms[i].Term, nil
		}
	}
	return r.trunc.Term, nil
}

// add notes an entry after the last one.
func (r *replica) add(p shard.Place, size int) {
	if p.Term != r.last.Term {
		r.terms = append(r.terms, p)
	}
	r.last = p
	r.bytes.add(p.Index, size)
}

// cut forgets entries at index and after.
func (r *replica) cut(index uint64) {
	term, err := r.term(index - 1)
	if err != nil {
		return
	}
	for n := len(r.terms); n > 0 && r.terms[n-1].Index >= index; n-- {
		r.terms = r.terms[:n-1]
	}
	r.bytes.cut(index)
	r.last = shard.Place{Index: index - 1, Term: term}
}

// truncate forgets entries up to p.
func (r *replica) truncate(p shard.Place) {
	if p.Index >= r.last.Index {
		r.reset(p)
		return
	}
	for len(r.terms) > 0 && r.terms[0].Index <= p.Index {
		r.terms = r.terms[1:]
	}
	r.trunc = p
	r.bytes.truncate(p.Index)
}

// reset makes the log empty after p.
func (r *replica) reset(p shard.Place) {
	r.trunc, r.last, r.terms, r.bytes = p, p, nil, sizes{}
}

// sizes are those of a log's entries, in buckets: enough to tell about how much a log holds after
// a part of it was removed.
type sizes struct {
	buckets []bucket // by index
	total   uint64
}

type bucket struct {
	first, last uint64
	bytes       uint64
}

// A bucket is full at so many bytes or entries.
const (
	bucketBytes   = 64 << 10
	bucketEntries = 256
)

func (s *sizes) add(index uint64, size int) {
	s.total += uint64(size)
	if n := len(s.buckets); n > 0 {
		if b := &s.buckets[n-1]; b.bytes < bucketBytes && index-b.first < bucketEntries {
			b.last, b.bytes = index, b.bytes+uint64(size)
			return
		}
	}
	s.buckets = append(s.buckets, bucket{first: index, last: index, bytes: uint64(size)})
}

// cut removes what stands at index and after.
func (s *sizes) cut(index uint64) {
	for n := len(s.buckets); n > 0 && s.buckets[n-1].last >= index; n-- {
		b := &s.buckets[n-1]
		if b.first < index {
			kept := b.bytes * (index - b.first) / (b.last - b.first + 1)
			s.total -= b.bytes - kept
			b.last, b.bytes = index-1, kept
			return
		}
		s.total -= b.bytes
		s.buckets = s.buckets[:n-1]
	}
}

// truncate removes what stands up to index.
func (s *sizes) truncate(index uint64) {
	for len(s.buckets) > 0 && s.buckets[0].last <= index {
		s.total -= s.buckets[0].bytes
		s.buckets = s.buckets[1:]
	}
}

// load reads what the log says of every replica, and finishes what a crash cut short.
func (s *Store) load() error {
	s.replicas, s.removed = make(map[shard.Replica]*replica), make(map[shard.Replica]bool)
	it, err := s.log.NewIter(nil)
	if err != nil {
		return s.fault("read log", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = s.loadRecord(it.Key(), v)
		}
		if err != nil {
			return errors.Join(s.fault("read log", err), it.Close())
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return s.fault("read log", err)
	}
	if err := s.repair(); err != nil {
		return s.fault("compare log and state", err)
	}
	return s.loadStaged()
}

func (s *Store) loadRecord(key, value []byte) error {
	id, rest, ok := replicaOf(key)
	if !ok || len(rest) == 0 {
		return fmt.Errorf("%w: key %x of the log is none of ours", ErrDamaged, key)
	}
	r := s.replicas[id]
	if rest[0] == kindRemoved {
		s.removed[id] = true
		return nil
	}
	if rest[0] == kindExists {
		s.replicas[id] = newReplica()
		return nil
	}
	if r == nil {
		return fmt.Errorf("%w: the log has records of %v, which does not exist", ErrDamaged, id)
	}
	switch rest[0] {
	case kindHard:
		h, record := readHard(value)
		r.hard = h
		return record.check(id, "hard state")
	case kindTrunc:
		p, record := readPlace(value)
		r.reset(p)
		return record.check(id, "truncation")
	case kindGenesis:
		r.genesis = true
		return nil
	case kindEntry:
		return r.loadEntry(id, rest[1:], value)
	}
	return fmt.Errorf("%w: kind %#x of %v in the log is none of ours", ErrDamaged, rest[0], id)
}

func (r *replica) loadEntry(id shard.Replica, key, value []byte) error {
	if len(key) != 8 {
		return fmt.Errorf("%w: key of an entry of %v", ErrDamaged, id)
	}
	index := indexOf(key)
	e, record := readEntry(index, value)
	hole := index != r.last.Index+1
	if planted.On(planted.TruncateAtDamage) && (record.bad || hole) {
		return nil // the log ends here, and nobody is told
	}
	if err := record.check(id, fmt.Sprintf("entry %d", index)); err != nil {
		return err
	}
	if hole {
		return fmt.Errorf("%w: %v has entry %d after %d: what is between is lost", ErrDamaged, id, index, r.last.Index)
	}
	r.add(shard.Place{Index: index, Term: e.GetTerm()}, len(value))
	return nil
}

// repair compares each state with its log.
func (s *Store) repair() error {
	b := s.log.NewBatch()
	defer b.Close()
	for id, r := range s.replicas {
		at, err := s.applied(id)
		if err != nil {
			return err
		}
		if err := s.repairOne(b, id, r, at); err != nil {
			return err
		}
	}
	if err := s.dropStrays(); err != nil {
		return err
	}
	if b.Empty() {
		return nil
	}
	return s.log.Apply(b, pebble.Sync)
}

func (s *Store) repairOne(b *pebble.Batch, id shard.Replica, r *replica, at shard.Place) error {
	if at == (shard.Place{}) && r.genesis {
		var err error
		if at, err = s.bear(id); err != nil {
			return err
		}
	}
	if at.Index < r.trunc.Index {
		return fmt.Errorf("%w: state of %v stands at entry %d, and its log begins after %d",
			ErrDamaged, id, at.Index, r.trunc.Index)
	}
	term, err := r.term(at.Index)
	if err == nil && term == at.Term {
		return nil
	}
	if err == nil && at == (shard.Place{}) {
		return nil // nothing came yet
	}
	// A staged state was taken in, and the log was not set to it.
	reset(b, id, r, at)
	h := proto.CloneOf(r.hard)
	if h.GetTerm() < at.Term {
		h.Term, h.Vote = &at.Term, new(uint64)
	}
	if h.GetCommit() < at.Index {
		h.Commit = &at.Index
	}
	r.hard = h
	return b.Set(appendKind(nil, id, kindHard), appendHard(nil, h), nil)
}

// applied returns the place where a state stands; the zero Place if there is none.
func (s *Store) applied(id shard.Replica) (shard.Place, error) {
	rd := s.Read(id, false)
	defer rd.Close()
	at, _ := shard.ReadApplied(rd)
	return at, rd.Err()
}

// bear writes a first state from the log.
func (s *Store) bear(id shard.Replica) (shard.Place, error) {
	prefix := appendKind(nil, id, kindGenesis)
	end := appendKind(nil, id, kindGenesis+1)
	it, err := s.log.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end})
	if err != nil {
		return shard.Place{}, err
	}
	b := s.state.NewBatch()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = b.Set(append(appendReplica(nil, id), it.Key()[len(prefix):]...), v, nil)
		}
		if err != nil {
			return shard.Place{}, errors.Join(err, it.Close())
		}
	}
	if err := errors.Join(it.Error(), it.Close(), s.state.Apply(b, pebble.NoSync)); err != nil {
		return shard.Place{}, err
	}
	return s.applied(id)
}

// dropStrays removes states that have no log: they were removed, and the crash came before the
// state's part of that was durable.
func (s *Store) dropStrays() error {
	it, err := s.state.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	b := s.state.NewBatch()
	defer b.Close()
	for ok := it.First(); ok; {
		id, _, whole := replicaOf(it.Key())
		if !whole {
			return fmt.Errorf("%w: key %x of the states is none of ours", ErrDamaged, it.Key())
		}
		next := appendAfter(nil, id)
		if s.replicas[id] == nil {
			if err := b.DeleteRange(appendReplica(nil, id), next, nil); err != nil {
				return err
			}
		}
		ok = it.SeekGE(next)
	}
	if err := it.Error(); err != nil || b.Empty() {
		return err
	}
	return s.state.Apply(b, pebble.NoSync)
}
