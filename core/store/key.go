package store

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// Kinds of keys in the log. Append-only: a number is never used for something else.
const (
	kindExists  = 0x01
	kindHard    = 0x02
	kindTrunc   = 0x03
	kindGenesis = 0x04
	kindEntry   = 0x05
	kindRemoved = 0x06
)

// recordVersion is the first byte of values in the log.
const recordVersion = 1

const replicaLen = 16

func appendReplica(b []byte, r shard.Replica) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Shard))
	return binary.BigEndian.AppendUint64(b, uint64(r.Number))
}

// replicaOf reads the replica at the beginning of a key.
func replicaOf(key []byte) (r shard.Replica, rest []byte, ok bool) {
	if len(key) < replicaLen {
		return r, nil, false
	}
	r.Shard = shard.ID(binary.BigEndian.Uint64(key))
	r.Number = shard.Number(binary.BigEndian.Uint64(key[8:]))
	return r, key[replicaLen:], true
}

// appendAfter appends the key that follows all of a replica.
func appendAfter(b []byte, r shard.Replica) []byte {
	if r.Number++; r.Number == 0 {
		r.Shard++
	}
	return appendReplica(b, r)
}

func appendKind(b []byte, r shard.Replica, kind byte) []byte {
	return append(appendReplica(b, r), kind)
}

func appendEntryKey(b []byte, r shard.Replica, index uint64) []byte {
	return binary.BigEndian.AppendUint64(appendKind(b, r, kindEntry), index)
}

func appendHard(b []byte, h *raftpb.HardState) []byte {
	return appendNumbers(append(b, recordVersion), h.GetTerm(), h.GetVote(), h.GetCommit())
}

func appendPlace(b []byte, p shard.Place) []byte {
	return appendNumbers(append(b, recordVersion), p.Index, p.Term)
}

func appendNumbers(b []byte, list ...uint64) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// entryOverhead is what an entry takes beyond its data, at most.
const entryOverhead = 1 + 2*binary.MaxVarintLen64

// appendEntryHead appends what stands before an entry's data.
func appendEntryHead(b []byte, e *raftpb.Entry) []byte {
	return appendNumbers(append(b, recordVersion), e.GetTerm(), uint64(e.GetType()))
}

// A record is a value of the log that is being read.
type record struct {
	b   []byte
	bad bool
}

func newRecord(b []byte) record {
	if len(b) == 0 || b[0] != recordVersion {
		return record{bad: true}
	}
	return record{b: b[1:]}
}

func (r *record) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// check names a record that is not what this version wrote.
func (r *record) check(of shard.Replica, what string) error {
	if r.bad {
		return fmt.Errorf("%w: %s of %v cannot be read", ErrDamaged, what, of)
	}
	return nil
}

func readHard(b []byte) (*raftpb.HardState, record) {
	r := newRecord(b)
	term, vote, commit := r.uint(), r.uint(), r.uint()
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}, r
}

func readPlace(b []byte) (shard.Place, record) {
	r := newRecord(b)
	return shard.Place{Index: r.uint(), Term: r.uint()}, r
}

// readEntry reads an entry whose data is part of b.
func readEntry(index uint64, b []byte) (*raftpb.Entry, record) {
	r := newRecord(b)
	term, kind := r.uint(), raftpb.EntryType(r.uint())
	e := &raftpb.Entry{Term: &term, Index: &index, Type: &kind}
	if len(r.b) > 0 {
		e.Data = r.b
	}
	return e, r
}

// indexOf reads the index at the end of an entry's key.
func indexOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
