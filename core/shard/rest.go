package shard

import (
	"encoding/binary"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// Groups rest: a leader that has had nothing to do for a while, whose members on living nodes
// have everything, says so with a heartbeat, and is not ticked any more; nor are the followers
// that agree. Whoever misses that heartbeat asks for votes after an election's time, which wakes
// the others. A node's death wakes those that rest under it, see Lost. So a resting group finds
// out about a dead leader by the beats between nodes, which there is one of per pair, not per
// group.

// restAfter is how many idle ticks come before a rest.
const restAfter = 20

// resting is what a replica agreed with its group about a rest.
type resting struct {
	offers bool // the leader's next heartbeat ends the work
	asked  uint64
	agreed bool // it rests when what is ready is out
}

// wake makes a replica tick, and begin to be idle anew.
func (r *replica) wake() {
	r.idle = 0
	r.resting = resting{}
	if r.awakes == 0 {
		r.h.awake = append(r.h.awake, r)
		r.awakes = len(r.h.awake)
	}
}

// rest ends the ticks.
func (r *replica) rest() {
	r.resting = resting{}
	if r.awakes == 0 {
		return
	}
	list := r.h.awake
	last := list[len(list)-1]
	list[r.awakes-1], last.awakes = last, r.awakes
	list[len(list)-1] = nil
	r.h.awake = list[:len(list)-1]
	r.awakes = 0
	r.log.drop(r.log.last.Index)
}

// quiet reports whether a replica has nothing to do and waits for nothing.
func (r *replica) quiet() bool {
	return r.log.last.Index == r.applied && r.applying == 0 && len(r.writes) == 0 &&
		r.waiting.len() == 0 && len(r.proposed) == 0 && len(r.asking) == 0 && len(r.reads) == 0 &&
		r.change == nil && r.moving == nil && r.fetch == nil && r.fetched == nil && r.staged == nil
}

// maybeRest lets a replica rest when it may.
func (r *replica) maybeRest() {
	if r.staged != nil { // raft had no use for it
		r.staged.Close()
		r.staged = nil
	}
	switch {
	case r.awakes == 0 || r.dirty:
	case r.descriptor == nil:
		// Only others move it. It ticks until its lease on the leader is over: it may be a voter
		// already, without whom no other is elected.
		if r.idle > electionTicks {
			r.rest()
		}
	case !r.quiet():
	case r.agreed:
		r.rest()
	case r.role != Leading:
	case r.descriptor.alone(r.id.Number) && len(r.descriptor.Members) == 1:
		r.rest()
	case r.idle >= restAfter && !r.offers:
		r.offers = !r.descriptor.Joint && r.membersQuiet()
		if !r.offers {
			r.idle = 0
		}
	}
}

// membersQuiet reports whether the members on living nodes, among them a quorum, have all.
func (r *replica) membersQuiet() bool {
	quiet, all, voters, alive := true, true, 0, 0
	r.node.WithProgress(func(id uint64, typ raft.ProgressType, p tracker.Progress) {
		living := r.alive(Number(id))
		all = all && living
		if typ == raft.ProgressTypePeer {
			voters++
			if living {
				alive++
			}
		}
		if living && id != uint64(r.id.Number) && (p.Match != r.log.last.Index || p.State != tracker.StateReplicate) {
			quiet = false
		}
	})
	if quiet && all {
		r.keep = r.log.last.Index
	}
	return quiet && alive > voters/2
}

func (r *replica) alive(n Number) bool {
	p := r.h.nodes[r.nodeOf(n)]
	return p != nil && p.alive
}

// restWith decides whether a heartbeat, or its answer, ends the work.
func (r *replica) restWith(m *raftpb.Message) bool {
	if m.GetType() == raftpb.MsgHeartbeat {
		r.agreed = r.offers && r.quiet()
		return r.agreed
	}
	asked := r.asked
	r.asked = 0
	r.agreed = asked != 0 && asked == r.applied && r.quiet() && r.leader == Number(m.GetTo()) && r.alive(r.leader)
	return r.agreed
}

// wakesFor reports whether a message wakes: all do but heartbeats that end the work, and answers
// to heartbeats, which may have been on their way while the leader went to rest.
func (r *replica) wakesFor(m Message) bool {
	switch m.Raft.GetType() {
	case raftpb.MsgHeartbeat:
		if m.Rest && r.awakes > 0 {
			r.asked = m.Raft.GetCommit()
		}
		return !m.Rest || r.descriptor == nil
	case raftpb.MsgHeartbeatResp:
		return !r.leads
	}
	return true
}

// Heard says that a node is alive, and Lost that nothing came from it for an election's time:
// those that rest under its lead wake. A node that was never heard of is lost.
func (h *Host) Heard(n Node) {
	p := h.peer(n)
	if p.alive || h.err != nil {
		return
	}
	p.alive = true
	for _, s := range h.Shards() {
		r := h.shards[s]
		if r.awakes == 0 && r.leads && r.descriptor.On(n) != nil {
			r.wake() // it may lag
			r.mark()
		}
	}
}

// Lost: see Heard.
func (h *Host) Lost(n Node) {
	defer h.guard()
	p := h.peer(n)
	if !p.alive || n == h.cfg.Node || h.err != nil {
		return
	}
	p.alive = false
	for _, s := range h.Shards() {
		r := h.shards[s]
		if r.stopped || r.descriptor == nil {
			continue
		}
		if r.leader != 0 && r.nodeOf(r.leader) == n && r.descriptor.learner(r.id.Number) {
			_ = r.node.ForgetLeader() // it holds no election that would find out
			r.wake()
			r.mark()
		}
		if r.awakes != 0 {
			continue
		}
		switch {
		case r.leads && !r.quorumLives():
			r.wake() // so that it finds out, and steps down
			r.mark()
		case !r.leads && r.leader != 0 && r.nodeOf(r.leader) == n:
			r.wake()
			for range electionTicks - 1 { // nothing came for so long
				r.node.Tick()
			}
			r.mark()
		}
	}
}

// quorumLives reports whether enough voters are on living nodes.
func (r *replica) quorumLives() bool {
	voters, alive := 0, 0
	for _, m := range r.descriptor.Members {
		if m.Role == Learner {
			continue
		}
		voters++
		if r.alive(m.Number) {
			alive++
		}
	}
	return alive > voters/2
}

// seek asks where the leader is. Only its answer, which wakes it, tells a learner, that asks for no
// votes: the group may rest, and not know that the learner was gone for a moment.
func (r *replica) seek() {
	for i := range r.descriptor.Members {
		m := &r.descriptor.Members[i]
		if m.Role != Learner && r.alive(m.Number) {
			r.rouse(m.Number)
		}
	}
}

// rouse asks a member where the log stands, which wakes it.
func (r *replica) rouse(n Number) {
	r.send(&raftpb.Message{Type: raftpb.MsgReadIndex.Enum(), From: new(uint64(r.id.Number)), To: new(uint64(n)),
		Entries: []*raftpb.Entry{{Data: binary.BigEndian.AppendUint64(nil, r.h.next())}}})
}

// rouseLeader wakes the leader for who is asked for a vote against it, and so ticks from now on:
// without its heartbeats one member that lost the way to a resting leader would topple it.
func (r *replica) rouseLeader(by Number) {
	if r.descriptor != nil && !r.leads && r.leader != 0 && r.leader != by && r.alive(r.leader) {
		r.rouse(r.leader)
	}
}
