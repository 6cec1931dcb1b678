package shard

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// A Status is how a replica stands.
type Status struct {
	Replica    Replica
	Descriptor *Descriptor
	Role       RoleOf
	Leader     Number
	Term       uint64
	Commit     uint64
	Applied    uint64
	First      uint64 // of the log
	Last       uint64
	LogBytes   uint64
	Resting    bool
	Members    []Progress // a leader's
}

// A Progress is how far a member is, as the leader knows.
type Progress struct {
	Number   Number
	Match    uint64
	Active   bool // heard of within an election's time
	Snapshot bool // it waits for one
}

// Status tells how a replica stands; false: there is none.
func (h *Host) Status(s ID) (Status, bool) {
	r := h.shards[s]
	if r == nil {
		return Status{}, false
	}
	b := r.node.BasicStatus()
	st := Status{
		Replica: r.id, Descriptor: r.descriptor, Role: r.role, Leader: r.leader, Term: b.GetTerm(),
		Commit: b.GetCommit(), Applied: r.applied, First: r.log.trunc.Index + 1, Last: r.log.last.Index,
		LogBytes: r.log.bytes, Resting: r.awakes == 0,
	}
	if r.leads {
		r.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
			st.Members = append(st.Members, Progress{
				Number: Number(id), Match: p.Match, Active: p.RecentActive || id == uint64(r.id.Number),
				Snapshot: p.State == tracker.StateSnapshot,
			})
		})
		slices.SortFunc(st.Members, func(a, b Progress) int { return cmp.Compare(a.Number, b.Number) })
	}
	return st, true
}

// lookAtMembers is done now and then by a leader that does not rest.
func (r *replica) lookAtMembers() {
	r.keep = r.all()
	r.remind()
}

// all is the last entry that every member has, or will have with the snapshot it waits for.
func (r *replica) all() uint64 {
	low := r.log.last.Index
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if id == uint64(r.id.Number) {
			return
		}
		low = min(low, max(p.Match, p.PendingSnapshot))
	})
	return max(low, 1)
}

// Flushed says that states were flushed, so that logs may be truncated.
func (h *Host) Flushed() {
	defer h.guard()
	if h.err != nil {
		return
	}
	var all uint64
	list := h.Shards()
	for _, s := range list {
		all += h.shards[s].log.bytes
	}
	for _, s := range list {
		r := h.shards[s]
		if r.log.last.Index == r.log.trunc.Index || r.stopped || r.descriptor == nil {
			continue
		}
		before := r.log.bytes
		r.truncate(all > h.cfg.LagNode)
		all -= before - r.log.bytes
	}
}

// truncate removes entries that the durable state has, and the members have or will not get.
func (r *replica) truncate(full bool) {
	state := r.h.cfg.States.Read(r.id, true)
	at, ok := ReadApplied(state)
	err := state.Err()
	state.Close()
	if err != nil {
		r.h.fail(fmt.Errorf("%v: read the durable state: %w", r.id, err))
		return
	}
	if !ok || len(r.stagedWrites()) > 0 {
		return
	}
	r.durable = max(r.durable, at.Index)
	to, keep := min(r.durable, r.applied), r.keep
	if r.leads {
		keep = r.all()
	}
	if keep < to && !full && r.log.behind(keep) <= r.h.cfg.LagShard {
		to = keep
	}
	if to <= r.log.trunc.Index {
		return
	}
	term, err := r.log.Term(to)
	if err != nil {
		return // the log has told, if it is worth telling
	}
	place := Place{to, term}
	r.log.truncate(place)
	r.h.out.Writes = append(r.h.out.Writes, &Write{Replica: r.id, Trunc: place})
}

// upkeepAgain is how long an Upkeep may stay without a proposal.
const upkeepAgain = uint64(time.Second / time.Millisecond)

// A due is when a leader has to look after its state again.
type due struct {
	at      uint64 // Unix ms
	place   int    // in the heap and one; 0: it is not there
	pending bool   // Upkeep was handed out, and what it proposes is not applied
}

// dueHeap is a heap of leaders, the earliest first. It has resting ones too.
type dueHeap []*replica

func (q dueHeap) Len() int { return len(q) }
func (q dueHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].due.at, q[j].due.at), q[i].id.Compare(q[j].id)) < 0
}
func (q dueHeap) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].due.place, q[j].due.place = i+1, j+1
}
func (q *dueHeap) Push(x any) {
	r := x.(*replica)
	*q = append(*q, r)
	r.due.place = len(*q)
}
func (q *dueHeap) Pop() any {
	r := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = nil
	*q = (*q)[:len(*q)-1]
	r.due.place = 0
	return r
}

func (r *replica) dueAt(at uint64) {
	r.due.at = at
	if r.due.place > 0 {
		heap.Fix(&r.h.due, r.due.place-1)
	} else {
		heap.Push(&r.h.due, r)
	}
}

func (r *replica) forgetDue() {
	if r.due.place > 0 {
		heap.Remove(&r.h.due, r.due.place-1)
	}
	r.due.pending = false
}

// dueAfter takes what an Apply says about when to look again: at once, if it did not keep pace.
func (r *replica) dueAfter(a *Apply) {
	if r.role != Leading {
		return
	}
	for i, p := range a.proposals {
		if a.Entries[i].GetType() == raftpb.EntryNormal && p != nil && len(p.answers) == 0 {
			r.due.pending = false
		}
	}
	switch at := a.Result.Due; {
	case r.due.pending:
	case at == 0:
		r.forgetDue()
	default:
		r.dueAt(at)
		r.h.upkeep(r.h.cfg.Now())
	}
}

// upkeep hands out what is due.
func (h *Host) upkeep(now time.Time) {
	ms := uint64(max(now.UnixMilli(), 0))
	for len(h.due) > 0 && h.due[0].due.at <= ms {
		r := h.due[0]
		r.due.pending = true
		r.dueAt(ms + upkeepAgain)
		h.out.Upkeep = append(h.out.Upkeep, r.id)
	}
}
