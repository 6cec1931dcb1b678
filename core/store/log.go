package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// known returns what the store knows of a replica. s.mu is held.
func (s *Store) known(id shard.Replica) (*replica, error) {
	switch r := s.replicas[id]; {
	case r != nil:
		return r, nil
	case s.removed[id]:
		return nil, shard.ErrRemoved
	default:
		return nil, shard.ErrNoReplica
	}
}

// Replicas lists the replicas that the store has, in order.
func (s *Store) Replicas() []shard.Replica {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]shard.Replica, 0, len(s.replicas))
	for id := range s.replicas {
		list = append(list, id)
	}
	slices.SortFunc(list, shard.Replica.Compare)
	return list
}

// Info implements shard.Log.
func (s *Store) Info(id shard.Replica) (shard.LogInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, err := s.known(id)
	if err != nil {
		return shard.LogInfo{Hard: &raftpb.HardState{}}, err
	}
	return shard.LogInfo{Hard: r.hard, Trunc: r.trunc, Last: r.last, Bytes: r.bytes.total}, nil
}

// Term implements shard.Log.
func (s *Store) Term(id shard.Replica, index uint64) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, err := s.known(id)
	if err != nil {
		return 0, err
	}
	return r.term(index)
}

// Entries implements shard.Log.
func (s *Store) Entries(id shard.Replica, lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	s.mu.RLock()
	r, err := s.known(id)
	var trunc, last uint64
	if err == nil {
		trunc, last = r.trunc.Index, r.last.Index
	}
	s.mu.RUnlock()
	switch {
	case err != nil:
		return nil, err
	case lo <= trunc:
		return nil, shard.ErrTruncated
	case lo >= hi || hi > last+1:
		return nil, fmt.Errorf("%v: entries %d to %d: the log has %d to %d", id, lo, hi, trunc+1, last)
	}
	list, err := s.readEntries(id, lo, hi, maxBytes)
	if err != nil {
		return nil, s.fail("read log", err)
	}
	if len(list) == 0 { // truncated in between
		return nil, shard.ErrTruncated
	}
	return list, nil
}

func (s *Store) readEntries(id shard.Replica, lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	it, err := s.log.NewIter(&pebble.IterOptions{
		LowerBound: appendEntryKey(nil, id, lo), UpperBound: appendEntryKey(nil, id, hi),
	})
	if err != nil {
		return nil, err
	}
	var list []*raftpb.Entry
	a, size := arena{}, uint64(0)
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		if size += uint64(len(v)); len(list) > 0 && size > maxBytes {
			break
		}
		index := indexOf(it.Key()[replicaLen+1:])
		if index != lo+uint64(len(list)) {
			break
		}
		e, record := readEntry(index, a.copy(v))
		if err := record.check(id, fmt.Sprintf("entry %d", index)); err != nil {
			return nil, errors.Join(err, it.Close())
		}
		list = append(list, e)
	}
	return list, errors.Join(it.Error(), it.Close())
}
