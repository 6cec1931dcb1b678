package shardtest

import (
	"maps"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/shard"
)

// Replicas lists the replicas that the store has, in order.
func (s *Store) Replicas() []shard.Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.now.logs), shard.Replica.Compare)
}

// log returns a replica's log. s.mu is held.
func (s *Store) log(r shard.Replica) (*log, error) {
	l := s.now.logs[r]
	switch {
	case l == nil && s.now.gone[r.Shard] >= r.Number:
		return nil, shard.ErrRemoved
	case l == nil:
		return nil, shard.ErrNoReplica
	}
	return l, nil
}

// Info implements shard.Log.
func (s *Store) Info(r shard.Replica) (shard.LogInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.log(r)
	if err != nil {
		return shard.LogInfo{}, err
	}
	return shard.LogInfo{Hard: proto.CloneOf(l.hard), Trunc: l.trunc, Last: l.last(), Bytes: l.bytes}, nil
}

// Entries implements shard.Log.
func (s *Store) Entries(r shard.Replica, lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.log(r)
	if err != nil {
		return nil, err
	}
	if lo <= l.trunc.Index || lo > l.last().Index || hi > l.last().Index+1 || hi <= lo {
		return nil, shard.ErrTruncated
	}
	var list []*raftpb.Entry
	total := uint64(0)
	for _, e := range l.entries[lo-l.trunc.Index-1 : hi-l.trunc.Index-1] {
		if total += size(e); total > maxBytes && len(list) > 0 {
			break
		}
		list = append(list, e)
	}
	return list, nil
}

// Term implements shard.Log.
func (s *Store) Term(r shard.Replica, index uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.log(r)
	switch {
	case err != nil:
		return 0, err
	case index == l.trunc.Index:
		return l.trunc.Term, nil
	case index < l.trunc.Index || index > l.last().Index:
		return 0, shard.ErrTruncated
	}
	return l.entries[index-l.trunc.Index-1].GetTerm(), nil
}
