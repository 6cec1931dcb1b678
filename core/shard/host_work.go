package shard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3/raftpb"
)

// Take returns what is to be done now. The Host forgets it.
func (h *Host) Take() Work {
	h.drain()
	if h.err != nil {
		for _, a := range h.out.Applies { // nobody else knows those who wait for it any more
			a.Abandon()
		}
		h.out = Work{}
		return Work{}
	}
	w := h.out
	h.out = Work{}
	slices.SortFunc(h.sending, func(a, b *peer) int { return cmp.Compare(a.name, b.name) })
	for _, p := range h.sending {
		w.Send = append(w.Send, Send{To: p.name, Urgent: p.urgent, Bulk: p.bulk})
		p.urgent, p.bulk, p.waiting = nil, nil, false
	}
	clear(h.sending)
	h.sending = h.sending[:0]
	return w
}

// drain lets every replica that may have work do it; one may mark others, or itself.
func (h *Host) drain() {
	defer h.guard()
	for i := 0; i < len(h.dirty) && h.err == nil; i++ {
		r := h.dirty[i]
		r.dirty = false
		if h.shards[r.id.Shard] == r {
			r.work()
		}
	}
	clear(h.dirty)
	h.dirty = h.dirty[:0]
}

// Tick lets time pass for those that do not rest. It is called every 50 ms: a leader sends a heartbeat
// every second tick; who hears nothing for 20 to 40 ticks holds an election.
func (h *Host) Tick() {
	defer h.guard()
	if h.err != nil {
		return
	}
	h.ticks++
	now := h.cfg.Now()
	for _, r := range h.awake {
		r.tick(now)
	}
	h.upkeep(now)
}

// tick is one tick of a replica that does not rest.
func (r *replica) tick(now time.Time) {
	r.node.Tick()
	r.mark()
	r.idle++
	r.expire(now)
	r.expireReads(now)
	r.expireTransfer()
	switch now := r.h.ticks%electionTicks == 0; {
	case now && r.leads:
		r.lookAtMembers()
	case now && r.leader == 0 && r.descriptor.learner(r.id.Number):
		r.seek()
	}
}

// Receive takes a message from a peer.
func (h *Host) Receive(from Node, m Message) {
	defer h.guard()
	if h.err != nil {
		return
	}
	if m.Store != (StoreID{}) && m.Store != h.cfg.Store {
		return // for a store that was here before
	}
	h.peer(from)
	r := h.shards[m.Shard]
	if r != nil && r.misnamed(from, m) {
		return
	}
	if r == nil || r.id.Number < m.To {
		if r = h.created(from, m); r == nil {
			return
		}
	}
	if r.id.Number > m.To || r.stopped || !r.incarnate(m) {
		return
	}
	if m.Gone {
		h.cfg.Logger.Info("a peer says that the replica was removed", "replica", r.id, "peer", from)
		r.remove()
		return
	}
	if m.Raft == nil || Number(m.Raft.GetFrom()) != m.From || m.From == r.id.Number || m.From == 0 || m.From > math.MaxInt64 {
		return // numbers beyond are raft's for what it tells itself
	}
	r.receive(from, m)
}

// misnamed reports whether a message claims to be of a member that is on another node than the
// one it came from: a node speaks for its own replicas only.
func (r *replica) misnamed(from Node, m Message) bool {
	if r.descriptor == nil || m.Incarnation != r.incarnation {
		return false
	}
	known := r.descriptor.Member(m.From)
	return known != nil && known.Node != from
}

// Shown says that a shard has an incarnation elsewhere: a replica here of a lower one stops, as it
// does when a message shows it one.
func (h *Host) Shown(id ID, incarnation uint64) {
	defer h.guard()
	r := h.shards[id]
	if h.err != nil || r == nil || r.stopped || r.descriptor == nil {
		return
	}
	r.outlived(incarnation)
}

// outlived stops a replica that is shown a higher incarnation.
func (r *replica) outlived(shown uint64) {
	if shown <= r.incarnation {
		return
	}
	r.h.cfg.Logger.Warn("the group was recovered without this replica: it stops",
		"replica", r.id, "incarnation", r.incarnation, "shown", shown)
	r.stop()
}

// incarnate compares incarnations: false: the message is not for this one.
func (r *replica) incarnate(m Message) bool {
	if r.descriptor == nil {
		r.incarnation = max(r.incarnation, m.Incarnation)
	} else {
		r.outlived(m.Incarnation)
	}
	return m.Incarnation == r.incarnation
}

func (r *replica) receive(from Node, m Message) {
	switch m.Raft.GetType() {
	default:
		return // nobody here sends others; raft believes them, those that are its own above all
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgSnap, raftpb.MsgTimeoutNow, raftpb.MsgReadIndexResp:
	case raftpb.MsgSnapStatus:
		if m.Raft.GetReject() {
			r.fetchEnded(m.From, fmt.Errorf("the fetch failed on node %s", from))
		}
		return
	case raftpb.MsgReadIndex:
		if r.leads && r.role != Leading || len(m.Raft.GetEntries()) != 1 {
			return // see ask; the other asks again
		}
		m.Raft = proto.Clone(m.Raft).(*raftpb.Message) // raft writes into it
	}
	if d := r.descriptor; d != nil && d.Member(m.From) == nil && m.From < d.Next {
		// It was removed, and did not hear of it.
		r.h.send(from, Message{Shard: r.id.Shard, From: r.id.Number, To: m.From, Incarnation: r.incarnation, Gone: true}, false)
		return
	}
	if r.descriptor == nil || r.descriptor.Member(m.From) == nil {
		if r.addresses == nil {
			r.addresses = make(map[Number]Node)
		}
		if len(r.addresses) < maxMembers {
			r.addresses[m.From] = from
		}
	}
	if m.Keep != 0 && !r.leads {
		r.keep = m.Keep
	}
	if !r.wakesFor(m) {
		r.step(m.Raft)
		return
	}
	r.wake()
	if m.Raft.GetType() == raftpb.MsgPreVote {
		r.rouseLeader(m.From)
	}
	if m.Raft.GetType() == raftpb.MsgSnap {
		r.snapshotOffered(from, m.Raft)
		return
	}
	r.step(m.Raft)
}
