package shard

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/internal/planted"
)

// work turns what raft has ready into Work.
func (r *replica) work() {
	if r.stopped {
		return
	}
	r.flush()
	r.ask()
	for r.node.HasReady() && !r.stopped {
		r.ready(r.node.Ready())
	}
	r.observe()
	r.maybeRest()
}

func (r *replica) ready(rd raft.Ready) {
	leads, leader, term := r.leads, r.leader, r.term
	if rd.SoftState != nil {
		leads, leader = rd.SoftState.RaftState == raft.StateLeader, Number(rd.SoftState.Lead)
	}
	if rd.HardState.GetTerm() != 0 {
		term = rd.HardState.GetTerm()
	}
	if leads != r.leads || leader != r.leader || term != r.term {
		r.soft(leads, leader, term)
	}
	for _, s := range rd.ReadStates {
		r.readAt(s)
	}
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			r.write(m)
		case raft.LocalApplyThread:
			r.apply(m)
		default:
			r.send(m)
		}
	}
}

// write hands out what raft wants durable before m's responses are delivered. A commit alone is
// not written: after a crash the leader tells it again.
func (r *replica) write(m *raftpb.Message) {
	w := &Write{Replica: r.id, Entries: m.GetEntries(), Sync: true, done: m.GetResponses()}
	hard := m.GetTerm() != 0 || m.GetVote() != 0 || m.GetCommit() != 0
	if v := (vote{m.GetTerm(), m.GetVote()}); hard && (v != r.vote || len(w.Entries) > 0 || m.GetSnapshot() != nil) {
		r.vote = v
		w.Hard = &raftpb.HardState{Term: new(v.term), Vote: new(v.vote), Commit: new(m.GetCommit())}
		if planted.On(planted.LoseHardState) {
			w.Hard = nil
		}
	}
	if m.GetSnapshot() != nil {
		w.Staged, r.staged = r.staged, nil
		meta := m.GetSnapshot().GetMetadata()
		r.log.reset(Place{meta.GetIndex(), meta.GetTerm()})
	}
	if w.Hard == nil && len(w.Entries) == 0 && w.Staged == nil {
		if n := len(r.writes); n > 0 {
			r.writes[n-1].done = append(r.writes[n-1].done, w.done...)
		} else {
			r.deliver(w.done)
		}
		return
	}
	r.fresh = 0
	r.log.append(w.Entries)
	r.assign(w.Entries)
	r.writes = append(r.writes, w)
	r.h.out.Writes = append(r.h.out.Writes, w)
	if planted.On(planted.AckBeforeSync) && w.Staged == nil {
		r.deliver(w.done)
		w.done = nil
	}
	if planted.On(planted.DeliverUncommitted) && r.role == Leading && allNormal(w.Entries) {
		r.apply(&raftpb.Message{Entries: w.Entries})
	}
}

// allNormal reports whether none of the entries, of which there are some, changes the membership.
func allNormal(list []*raftpb.Entry) bool {
	for _, e := range list {
		if e.GetType() != raftpb.EntryNormal {
			return false
		}
	}
	return len(list) > 0
}

// Written says that a Write is done; with Sync, that it is durable.
func (h *Host) Written(w *Write) {
	defer h.guard()
	if w.Remove {
		delete(h.dying, w.Replica)
	}
	r := h.find(w.Replica)
	if r == nil || r.stopped || h.err != nil {
		return
	}
	for i, o := range r.writes {
		if o == w {
			r.writes = append(r.writes[:i], r.writes[i+1:]...)
			break
		}
	}
	if w.Staged != nil && !r.took(w.Staged.At()) {
		return
	}
	r.deliver(w.done)
	w.done = nil
	r.mark()
}

// deliver sends what had to wait for a Write or an Apply.
func (r *replica) deliver(list []*raftpb.Message) {
	for _, m := range list {
		if m.GetTo() == uint64(r.id.Number) {
			r.step(m)
		} else {
			r.send(m)
		}
	}
}

// apply hands out committed entries.
func (r *replica) apply(m *raftpb.Message) {
	a := &Apply{Replica: r.id, Entries: m.GetEntries(), done: m.GetResponses()}
	last := a.Entries[len(a.Entries)-1].GetIndex()
	for i, e := range a.Entries {
		if p := r.outcome(e); p != nil {
			if a.proposals == nil {
				a.proposals = make([]*proposal, len(a.Entries))
			}
			a.proposals[i] = p
		}
	}
	r.handed = max(r.handed, last)
	r.applying++
	r.h.out.Applies = append(r.h.out.Applies, a)
}

// Applied says that an Apply was run, committed and answered.
func (h *Host) Applied(a *Apply) {
	defer h.guard()
	for _, p := range a.proposals {
		if p != nil {
			h.used -= p.size
		}
	}
	r := h.find(a.Replica)
	if r == nil {
		r = h.dying[a.Replica]
	}
	if r == nil {
		return
	}
	r.applying--
	if h.dying[a.Replica] == r {
		r.endProposals(a)
		r.buried()
		return
	}
	if h.err != nil || r.stopped {
		r.endProposals(a)
		return
	}
	r.appliedAll(a)
}

// appliedAll takes what an Apply did.
func (r *replica) appliedAll(a *Apply) {
	if len(a.done) == 0 { // planted.DeliverUncommitted
		r.endProposals(a)
		return
	}
	last := a.Entries[len(a.Entries)-1].GetIndex()
	if at := a.Result.Applied.Index; at != last && !planted.Possible {
		r.h.fail(fmt.Errorf("%w: %v has applied %d, want %d", ErrDamaged, r.id, at, last))
		return
	}
	before := r.descriptor
	if !r.changed(a) {
		return
	}
	r.applied = max(r.applied, last)
	for _, e := range a.Entries {
		if r.leads && e.GetTerm() == r.term {
			r.flying -= min(r.flying, uint64(len(e.GetData())))
		}
	}
	r.deliver(a.done)
	r.applyTerm(a)
	r.dueAfter(a)
	r.endProposals(a)
	r.readsApplied()
	r.fetchedWhenIdle()
	if r.leader == 0 && !r.leads && r.descriptor.alone(r.id.Number) {
		_ = r.node.Campaign() // what it had to apply first kept it from that
	}
	if r.descriptor != before {
		r.members(before)
	}
	r.mark()
}

// endProposals tells those who proposed commands.
func (r *replica) endProposals(a *Apply) {
	for i, p := range a.proposals {
		if p != nil && p.done != nil {
			p.done(p.err)
		}
		a.proposals[i] = nil
	}
}

// send puts a message where it leaves with others for its node.
func (r *replica) send(m *raftpb.Message) {
	to := Number(m.GetTo())
	node := r.nodeOf(to)
	if node == "" || node == r.h.cfg.Node {
		return
	}
	out := Message{Shard: r.id.Shard, From: r.id.Number, To: to, Incarnation: r.incarnation, Raft: m}
	if r.descriptor != nil {
		if m := r.descriptor.Member(to); m != nil {
			out.Store = m.Store
		}
	}
	if r.leads {
		out.Keep = r.keep
	}
	bulk := false
	switch m.GetType() {
	case raftpb.MsgApp:
		bulk = true
		delete(r.freezing, to)
	case raftpb.MsgSnap:
		bulk = true
		r.frozenFor(to, m)
	case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
		out.Rest = r.restWith(m)
	}
	r.h.send(node, out, bulk)
}

func (h *Host) send(node Node, m Message, bulk bool) {
	p := h.peer(node)
	if !p.waiting {
		p.waiting = true
		h.sending = append(h.sending, p)
	}
	if bulk {
		p.bulk = append(p.bulk, m)
	} else {
		p.urgent = append(p.urgent, m)
	}
}
