package shard

import (
	"fmt"
	"math"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/internal/planted"
	"github.com/meridian-relay/meridian/relay"
)

// Bounds of one group. Raft's own defaults are none.
const (
	electionTicks  = 20
	heartbeatTicks = 2
	maxEntry       = 256 << 10 // what one entry gathers; a single publish may be longer
	maxMessage     = 256 << 10 // entries of one MsgApp
	maxInflight    = 256       // MsgApps to one member
	maxInflightLen = 8 << 20   // their bytes
	maxApplying    = 4 << 20   // committed entries that are out as Applies
)

// A replica is one member of one group, as its Host has it.
type replica struct {
	// Set at construction.
	h    *Host
	id   Replica
	node *raft.RawNode
	log  logView

	// What the group is. descriptor is nil until a first snapshot came; addresses are then
	// those that messages came from.
	descriptor  *Descriptor
	incarnation uint64
	addresses   map[Number]Node
	stopped     bool

	// What it is to the group, as of the last Ready.
	role   RoleOf
	leads  bool // raft's view; role may lag behind
	leader Number
	term   uint64
	event  Event // the last one told

	// Invariant: applied <= handed <= log.last. A durable state may be behind applied.
	applied  uint64
	handed   uint64 // to Applies
	applying int    // Applies that are out
	durable  uint64 // applied, and flushed
	keep     uint64 // what all members have, as the leader said

	vote    vote     // as handed out to the log
	writes  []*Write // with Sync, that are out
	waiting queue
	// proposed are entries made here under the present term, that are not handed to an Apply.
	proposed []proposed
	fresh    int    // how many of them are not in a Write yet
	flying   uint64 // bytes of entries made here that are not applied

	asking []barrier
	reads  []read
	change *changing
	moving *transfer

	fetch    *Fetch             // the one that is out
	fetched  *fetched           // done, but Applies are out
	staged   Staging            // handed to raft, not to a Write yet
	freezing map[Number]*frozen // snapshots that members are to fetch
	thaw     uint64             // the tick before which no other is asked for

	due    due
	awakes int  // its place in Host.awake and one; 0: it rests
	dirty  bool // it is in Host.dirty
	idle   int  // ticks without anything to do
	resting
}

// A vote is what of a HardState must be durable before raft speaks again.
type vote struct{ term, vote uint64 }

func newReplica(h *Host, id Replica, info LogInfo, d *Descriptor, applied Place) (r *replica, err error) {
	if planted.On(planted.ApplyTwice) && applied.Index > info.Trunc.Index {
		applied.Index--
	}
	r = &replica{h: h, id: id, descriptor: d, applied: applied.Index, handed: applied.Index, durable: 0}
	if d != nil {
		r.incarnation = d.Incarnation
	}
	if applied.Index < info.Trunc.Index || applied.Index > info.Last.Index {
		return nil, fmt.Errorf("%w: %v has applied %d, and its log has %d to %d",
			ErrDamaged, id, applied.Index, info.Trunc.Index+1, info.Last.Index)
	}
	r.log = logView{r: r, trunc: info.Trunc, last: info.Last, bytes: info.Bytes}
	r.log.hard = initialHard(info, applied)
	r.term = r.log.hard.GetTerm()
	r.vote = vote{info.Hard.GetTerm(), info.Hard.GetVote()}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: start %v: %v", ErrDamaged, id, p)
		}
	}()
	r.node, err = raft.NewRawNode(&raft.Config{
		ID:                        uint64(id.Number),
		ElectionTick:              electionTicks,
		HeartbeatTick:             heartbeatTicks,
		Storage:                   &r.log,
		Applied:                   applied.Index,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             maxMessage,
		MaxCommittedSizePerReady:  maxApplying,
		MaxUncommittedEntriesSize: h.cfg.Uncommitted,
		MaxInflightMsgs:           maxInflight,
		MaxInflightBytes:          maxInflightLen,
		CheckQuorum:               !planted.On(planted.NoCheckQuorum),
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    raftLog{h.cfg.Logger, id},
	})
	if err != nil {
		return nil, fmt.Errorf("start %v: %w", id, err)
	}
	return r, nil
}

// initialHard is where raft begins again. Commits are not written on their own: what is applied
// was committed, and a leader tells the rest.
func initialHard(info LogInfo, applied Place) *raftpb.HardState {
	commit := min(max(info.Hard.GetCommit(), applied.Index), info.Last.Index)
	term := max(info.Hard.GetTerm(), info.Last.Term, info.Trunc.Term)
	v := info.Hard.GetVote()
	if term != info.Hard.GetTerm() {
		v = 0
	}
	return &raftpb.HardState{Term: &term, Vote: &v, Commit: &commit}
}

// mark says that the replica may have work.
func (r *replica) mark() {
	if !r.dirty {
		r.dirty = true
		r.h.dirty = append(r.h.dirty, r)
	}
}

// step hands raft a message. What raft refuses, it could have been lost as well.
func (r *replica) step(m *raftpb.Message) {
	_ = r.node.Step(m)
	r.mark()
}

// nodeOf returns where a member is; empty: not known.
func (r *replica) nodeOf(n Number) Node {
	if r.descriptor != nil {
		if m := r.descriptor.Member(n); m != nil {
			return m.Node
		}
	}
	return r.addresses[n]
}

// voter reports whether a member votes.
func (d *Descriptor) voter(n Number) bool {
	m := d.Member(n)
	return m != nil && m.Role != Learner
}

// learner reports whether a member has no vote. Nobody is a learner of nothing.
func (d *Descriptor) learner(n Number) bool {
	if d == nil {
		return false
	}
	m := d.Member(n)
	return m != nil && m.Role == Learner
}

// observe tells of a change of what the replica is.
func (r *replica) observe() {
	e := Event{Replica: r.id, Role: r.role, Leader: r.leader, Term: r.term, Descriptor: r.descriptor, Stopped: r.stopped}
	if e != r.event {
		r.event = e
		r.h.out.Events = append(r.h.out.Events, e)
	}
}

// soft takes raft's view of who leads.
func (r *replica) soft(leads bool, leader Number, term uint64) {
	if r.leads && (!leads || term != r.term) {
		r.lead(false)
	}
	r.leader, r.term = leader, term
	if leads && !r.leads {
		r.lead(true)
	}
	if t := r.moving; t != nil && leader == t.to {
		r.moved(nil)
	} else if t != nil && leader != 0 && !leads {
		r.moved(r.refusal().Err()) // to someone else
	}
}

// lead begins or ends leadership.
func (r *replica) lead(leads bool) {
	r.leads = leads
	r.flying, r.fresh, r.idle, r.keep = 0, 0, 0, 0
	if leads {
		r.role = Elected
		return
	}
	r.role = Following
	clear(r.freezing)
	r.forgetDue()
	r.unknown("the leadership was lost")
}

// applyTerm begins to serve once an entry of the own term is applied.
func (r *replica) applyTerm(a *Apply) {
	if r.role == Elected && len(a.Entries) > 0 && a.Entries[len(a.Entries)-1].GetTerm() == r.term {
		r.role = Leading
		r.observe()
	}
}

// refusal is the End for whoever comes to a replica that does not serve.
func (r *replica) refusal() relay.End {
	s := r.id.Shard.String()
	hint := relay.Hint{Shard: s}
	if node := r.nodeOf(r.leader); node != "" && node != r.h.cfg.Node && !r.stopped {
		hint.Alternatives = []string{string(node)}
		return relay.End{Code: relay.Moved, Detail: s + " is led by node " + string(node), Hint: hint}
	}
	return relay.End{Code: relay.Unavailable, RetryAfter: 100 * time.Millisecond,
		Detail: s + " has no leader for now", Hint: hint}
}

// stop ends a replica's part in its group; nothing of it is removed.
func (r *replica) stop() {
	r.stopped = true
	r.soft(false, 0, r.term)
	r.end(r.refusal())
	r.rest()
	r.observe()
}

// end refuses whoever waits.
func (r *replica) end(end relay.End) {
	r.unknown("the replica was removed")
	r.moved(end.Err())
	for _, b := range r.asking {
		b.done(end)
	}
	for _, q := range r.reads {
		for _, b := range q.waiters {
			b.done(end)
		}
	}
	r.asking, r.reads = nil, nil
	if r.fetched != nil {
		r.fetched.staging.Close()
	}
	r.fetch, r.fetched = nil, nil
	r.log.drop(math.MaxUint64)
}
