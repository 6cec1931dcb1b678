package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// A snapshot of raft's is the name under which the leader's node keeps a state: a varint. The
// member fetches it, and only then raft hears of the snapshot, so that it is taken in at once.

// snapAgain is how many ticks a leader waits before it says again that a member needs a
// snapshot; the message, or the answer, may be lost.
const snapAgain = 40

// frozen is a snapshot that a member was told of.
type frozen struct {
	m    *raftpb.Message
	tick uint64
}

// fetched is a snapshot that is staged.
type fetched struct {
	f       *Fetch
	staging Staging
}

// snapshot freezes the state for a member. Raft asks for it.
func (r *replica) snapshot() (*raftpb.Snapshot, error) {
	if r.h.ticks < r.thaw {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	name, at, d, err := r.h.cfg.Freeze(r.id)
	if err != nil {
		r.thaw = r.h.ticks + electionTicks // raft asks with every append
		if !errors.Is(err, ErrBusy) {
			r.h.fail(fmt.Errorf("%v: freeze: %w", r.id, err))
		}
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{
		Data: binary.AppendUvarint(nil, name),
		Metadata: &raftpb.SnapshotMetadata{
			ConfState: d.ConfState(), Index: new(at.Index), Term: new(at.Term),
		},
	}, nil
}

// Bulk reports whether a message is one that must not hold up others.
func (m *Message) Bulk() bool {
	t := m.Raft.GetType()
	return m.Raft != nil && (t == raftpb.MsgApp || t == raftpb.MsgSnap)
}

// Snapshot returns the name of the state that a message announces; false: it announces none.
func (m *Message) Snapshot() (name uint64, ok bool) {
	if m.Raft.GetType() != raftpb.MsgSnap {
		return 0, false
	}
	name, n := binary.Uvarint(m.Raft.GetSnapshot().GetData())
	return name, n > 0
}

func (r *replica) frozenFor(to Number, m *raftpb.Message) {
	if r.freezing == nil {
		r.freezing = make(map[Number]*frozen)
	}
	r.freezing[to] = &frozen{m, r.h.ticks}
}

// errBehind: a member has its snapshot, but the entries after that were truncated meanwhile.
var errBehind = errors.New("the log does not begin where the snapshot ended")

// remind says again who needs a snapshot. Raft keeps waiting for one that was taken in where the
// log does not reach back to it any more: then the member needs another one.
func (r *replica) remind() {
	if len(r.freezing) == 0 {
		return
	}
	match := make(map[Number]uint64)
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) { match[Number(id)] = p.Match })
	for _, to := range slices.Sorted(maps.Keys(r.freezing)) {
		f := r.freezing[to]
		switch {
		case match[to] >= f.m.GetSnapshot().GetMetadata().GetIndex():
			r.fetchEnded(to, errBehind)
		case r.h.ticks-f.tick >= snapAgain:
			r.send(f.m)
		}
	}
}

// FetchEnded says, on the leader's node, that a member's fetch of a snapshot came to its end.
func (h *Host) FetchEnded(id Replica, by Number, err error) {
	defer h.guard()
	if r := h.find(id); r != nil && !r.stopped && h.err == nil {
		r.fetchEnded(by, err)
	}
}

// fetchEnded: that it ended well the member says itself, once it has taken it in.
func (r *replica) fetchEnded(by Number, err error) {
	if err == nil || !r.leads || r.freezing[by] == nil {
		return
	}
	delete(r.freezing, by)
	r.wake()
	r.node.ReportSnapshot(uint64(by), raft.SnapshotFailure)
	r.mark()
}

// snapshotOffered makes a Fetch of a leader's message.
func (r *replica) snapshotOffered(from Node, m *raftpb.Message) {
	meta := m.GetSnapshot().GetMetadata()
	name, n := binary.Uvarint(m.GetSnapshot().GetData())
	if n <= 0 || meta.GetIndex() == 0 || m.GetTerm() < r.term || !names(meta.GetConfState(), r.id.Number) {
		return
	}
	if meta.GetIndex() <= r.handed {
		r.step(m) // raft passes it over, and says where it stands
		return
	}
	if r.fetch != nil || r.fetched != nil || r.staged != nil || len(r.stagedWrites()) > 0 {
		return // one at a time; the leader says it again
	}
	f := &Fetch{Replica: r.id, From: from, Snapshot: name, At: Place{meta.GetIndex(), meta.GetTerm()}, message: m}
	r.fetch = f
	r.h.out.Fetches = append(r.h.out.Fetches, f)
}

// names reports whether a membership has a member; raft takes in no other snapshot.
func names(cs *raftpb.ConfState, n Number) bool {
	return slices.Contains(cs.GetVoters(), uint64(n)) || slices.Contains(cs.GetLearners(), uint64(n)) ||
		slices.Contains(cs.GetVotersOutgoing(), uint64(n))
}

func (r *replica) stagedWrites() (list []*Write) {
	for _, w := range r.writes {
		if w.Staged != nil {
			list = append(list, w)
		}
	}
	return list
}

// Fetched says that a Fetch staged everything, or failed.
func (h *Host) Fetched(f *Fetch, staged Staging, err error) {
	defer h.guard()
	r := h.find(f.Replica)
	if r == nil || r.fetch != f || r.stopped || h.err != nil {
		if staged != nil {
			staged.Close()
		}
		return
	}
	r.fetch = nil
	r.mark()
	if err != nil {
		r.h.send(f.From, Message{Shard: r.id.Shard, From: r.id.Number, To: Number(f.message.GetFrom()),
			Incarnation: r.incarnation, Raft: &raftpb.Message{Type: raftpb.MsgSnapStatus.Enum(),
				From: new(uint64(r.id.Number)), To: f.message.From, Reject: new(true)}}, false)
		return
	}
	r.fetched = &fetched{f, staged}
	r.fetchedWhenIdle()
}

// fetchedWhenIdle hands raft the snapshot when no Apply is out that would write over it.
func (r *replica) fetchedWhenIdle() {
	d := r.fetched
	if d == nil || r.applying > 0 {
		return
	}
	r.fetched = nil
	m := d.f.message
	if m.GetTerm() < r.term {
		// A leader's of an earlier term. What it is of was committed, so that it is as good as
		// the present leader's.
		if r.leader == 0 || r.leads {
			d.staging.Close()
			return
		}
		m = proto.Clone(m).(*raftpb.Message)
		m.Term, m.From = new(r.term), new(uint64(r.leader))
	}
	r.staged = d.staging
	r.step(m)
}

// took takes what a snapshot brought, which is the state now.
func (r *replica) took(at Place) bool {
	state := r.h.cfg.States.Read(r.id, false)
	d, ok := ReadDescriptor(state)
	applied, _ := ReadApplied(state)
	err := state.Err()
	state.Close()
	if err == nil && (!ok || applied != at) {
		err = fmt.Errorf("%w: it stands at %v, want %v", ErrDamaged, applied, at)
	}
	if err != nil {
		r.h.fail(fmt.Errorf("%v: take in a snapshot: %w", r.id, err))
		return false
	}
	before := r.descriptor
	r.descriptor, r.incarnation = &d, d.Incarnation
	r.applied, r.handed = at.Index, max(r.handed, at.Index)
	r.wake()
	r.readsApplied()
	r.members(before)
	return r.h.find(r.id) == r
}
