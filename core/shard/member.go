package shard

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/meridian-relay/meridian/relay"
)

// A MemberChange adds a member, or changes or ends one's role.
type MemberChange struct {
	Number Number // 0: a new member, with the next number
	Node   Node   // of a new one
	Store  StoreID
	Role   Role // 0: remove it
}

// ErrExpected is for a change of membership that expects another one than there is.
var ErrExpected = errors.New("shard: the membership is not what the change expects")

// A changing is the change of membership that is under way.
type changing struct {
	done    func(error)
	applied bool // the first half, if it is joint
}

// Change changes the membership, jointly if need be, if it is what is expected. done is called
// once: nil when it is in force.
func (h *Host) Change(s ID, expect []Member, changes []MemberChange, done func(error)) {
	defer h.guard()
	r := h.shards[s]
	switch {
	case r == nil:
		done(nobody(s).Err())
	case r.role != Leading || r.stopped || h.err != nil:
		done(r.refusal().Err())
	case r.change != nil || r.descriptor.Joint:
		done(relay.End{Code: relay.Busy, RetryAfter: time.Second,
			Detail: s.String() + ": another change of membership is under way"}.Err())
	default:
		if err := r.changeMembers(expect, changes, done); err != nil {
			done(err)
		}
	}
}

func (r *replica) changeMembers(expect []Member, changes []MemberChange, done func(error)) error {
	if err := r.descriptor.expected(expect); err != nil {
		return err
	}
	cc, ctx, err := r.confChange(changes)
	if err != nil {
		return err
	}
	p := &proposal{id: r.h.next(), at: r.h.cfg.Now(), size: publishCost}
	ctx.id = p.id
	cc.Context = ctx.append(nil)
	c := &changing{done: done}
	p.done = func(err error) {
		switch {
		case r.change != c:
		case err != nil:
			r.endChange(err)
		default:
			c.applied = true
			r.inForce()
		}
	}
	if err := r.node.ProposeConfChange(cc); err != nil {
		return relay.End{Code: relay.Busy, RetryAfter: time.Second, Detail: r.id.Shard.String() + ": " + err.Error()}.Err()
	}
	r.h.used += p.size
	r.change = c
	r.proposed = append(r.proposed, proposed{p: p, change: true})
	r.wake()
	r.mark()
	return nil
}

// expected compares numbers and roles.
func (d *Descriptor) expected(list []Member) error {
	same := len(list) == len(d.Members)
	for i := 0; same && i < len(list); i++ {
		m := d.Member(list[i].Number)
		same = m != nil && m.Role == list[i].Role
	}
	if !same {
		return fmt.Errorf("%w: %v has %s; look again, and decide anew", ErrExpected, d.Shard, listed(d.Members))
	}
	return nil
}

func listed(list []Member) string {
	s := ""
	for i, m := range list {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%v %d on %s", m.Role, m.Number, m.Node)
	}
	return s
}

// confChange makes raft's change, and refuses what could not be applied.
func (r *replica) confChange(changes []MemberChange) (*raftpb.ConfChangeV2, *confContext, error) {
	cc, ctx := &raftpb.ConfChangeV2{}, &confContext{}
	next := r.descriptor.Next
	seen := make(map[Number]bool)
	for _, c := range changes {
		n := c.Number
		switch {
		case n == 0 && (c.Node == "" || c.Role == 0):
			return nil, nil, fmt.Errorf("%v: a new member needs a node and a role", r.id.Shard)
		case n == 0:
			if v := r.h.cfg.VersionOf(c.Node); v != 0 && v < r.descriptor.Version {
				return nil, nil, fmt.Errorf("%v has version %d, and node %s can %d: upgrade it first",
					r.id.Shard, r.descriptor.Version, c.Node, v)
			}
			n = next
			next++
			ctx.members = append(ctx.members, Member{Number: n, Node: c.Node, Store: c.Store})
		case r.descriptor.Member(n) == nil || seen[n]:
			return nil, nil, fmt.Errorf("%v: %d is no member, or stands twice", r.id.Shard, n)
		}
		if m := r.descriptor.Member(n); m != nil && m.Role == Learner && c.Role == Voter && !r.caughtUp(n) {
			return nil, nil, relay.End{Code: relay.Busy, RetryAfter: time.Second, Detail: fmt.Sprintf(
				"%v: learner %d on %s has not caught up, and its vote would hold publishes up; repeat it when it has",
				r.id.Shard, n, m.Node)}.Err()
		}
		seen[n] = true
		typ := raftpb.ConfChangeRemoveNode
		switch c.Role {
		case Voter:
			typ = raftpb.ConfChangeAddNode
		case Learner:
			typ = raftpb.ConfChangeAddLearnerNode
		case 0:
		default:
			return nil, nil, fmt.Errorf("%v: a change makes voters and learners, not %v", r.id.Shard, c.Role)
		}
		cc.Changes = append(cc.Changes, &raftpb.ConfChangeSingle{Type: typ.Enum(), NodeId: new(uint64(n))})
	}
	if len(cc.Changes) == 0 {
		return nil, nil, errNoCommands
	}
	after, err := r.descriptor.changed(cc, ctx)
	if err != nil {
		return nil, nil, err
	}
	after.leaveJoint()
	if err := after.Check(); err != nil {
		return nil, nil, err
	}
	return cc, ctx, nil
}

// nearVote is how many entries a learner may be behind when it gets a vote.
const nearVote = 1000

// caughtUp reports whether a member has a state, and nearly all of the log.
func (r *replica) caughtUp(n Number) (yes bool) {
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if Number(id) == n {
			yes = p.Match > 0 && p.State != tracker.StateSnapshot && p.Match+nearVote >= r.log.last.Index
		}
	})
	return yes
}

// endChange ends the change of membership that is under way.
func (r *replica) endChange(err error) {
	if c := r.change; c != nil {
		r.change = nil
		c.done(err)
	}
}

// inForce ends a change once it is.
func (r *replica) inForce() {
	if r.change != nil && r.change.applied && !r.descriptor.Joint {
		r.endChange(nil)
	}
}

var errMembership = errors.New("shard: raft and the state disagree about the membership")

// changed takes changes of the descriptor, and tells raft of those of the membership.
func (r *replica) changed(a *Apply) bool {
	var cs *raftpb.ConfState
	for _, e := range a.Entries {
		if e.GetType() == raftpb.EntryNormal {
			continue
		}
		cc, _, err := decodeConfChange(e)
		if err != nil {
			r.h.fail(err)
			return false
		}
		cs = r.node.ApplyConfChange(cc)
	}
	if d := a.Result.Descriptor; d != nil {
		r.descriptor, r.incarnation = d, d.Incarnation
	}
	if cs != nil {
		if err := cs.Equivalent(r.descriptor.ConfState()); err != nil {
			r.h.fail(fmt.Errorf("%w: %v: %w", errMembership, r.id, err))
			return false
		}
	}
	return true
}

// members acts on a new descriptor.
func (r *replica) members(before *Descriptor) {
	d := r.descriptor
	r.h.peers(d)
	if r.leads && before != nil {
		for _, m := range before.Members {
			if d.Member(m.Number) == nil && m.Number != r.id.Number {
				r.h.send(m.Node, Message{Shard: r.id.Shard, From: r.id.Number, To: m.Number,
					Incarnation: r.incarnation, Gone: true}, false)
				delete(r.freezing, m.Number)
			}
		}
	}
	for _, m := range d.Members {
		delete(r.addresses, m.Number)
	}
	r.inForce()
	r.observe()
	if d.Member(r.id.Number) == nil {
		r.remove()
	}
}

// remove ends a replica that its group does not have any more.
func (r *replica) remove() {
	h := r.h
	delete(h.shards, r.id.Shard)
	r.leader = 0
	if r.leads {
		r.lead(false)
	}
	r.end(nobody(r.id.Shard))
	r.forgetDue()
	r.rest()
	if r.staged != nil {
		r.staged.Close()
		r.staged = nil
	}
	h.out.Events = append(h.out.Events, Event{Replica: r.id, Term: r.term, Descriptor: r.descriptor, Removed: true})
	h.dying[r.id] = r
	r.buried()
}

// buried removes log and state, once no Apply writes to it.
func (r *replica) buried() {
	if r.applying == 0 {
		r.h.out.Writes = append(r.h.out.Writes, &Write{Replica: r.id, Remove: true, Sync: true})
	}
}

// created makes a replica that a leader writes to, if it never was here.
func (h *Host) created(from Node, m Message) *replica {
	if m.Raft == nil || m.To == 0 || m.Shard == 0 || m.Store != h.cfg.Store {
		return nil
	}
	switch m.Raft.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
	default:
		return nil
	}
	if old := h.shards[m.Shard]; old != nil {
		if m.Incarnation >= old.incarnation {
			old.remove() // it is its successor that is written to
		}
		return nil
	}
	for id := range h.dying {
		if id.Shard == m.Shard {
			return nil
		}
	}
	id := Replica{Shard: m.Shard, Number: m.To}
	info, err := h.cfg.Log.Info(id)
	switch {
	case err == nil:
		err = h.Open(id)
	case errors.Is(err, ErrRemoved):
		return nil
	case errors.Is(err, ErrNoReplica):
		h.out.Writes = append(h.out.Writes, &Write{Replica: id, Create: true, Sync: true})
		err = h.start(id, info, nil, Place{})
	}
	if err != nil {
		h.fail(err)
		return nil
	}
	h.cfg.Logger.Info("a leader adds this node to its group", "replica", id, "leader", from)
	return h.shards[m.Shard]
}

// A transfer is the one that is under way.
type transfer struct {
	to   Number
	done func(error)
	tick uint64
}

// Transfer hands leadership to a voter. done is called once: nil when it leads.
func (h *Host) Transfer(s ID, to Number, done func(error)) {
	defer h.guard()
	r := h.shards[s]
	switch {
	case r == nil:
		done(nobody(s).Err())
	case !r.leads || r.stopped || h.err != nil:
		done(r.refusal().Err())
	case to == r.id.Number:
		done(nil)
	case !r.descriptor.voter(to):
		done(fmt.Errorf("%v: %d is no voter; members: %s", s, to, listed(r.descriptor.Members)))
	case r.moving != nil:
		done(relay.End{Code: relay.Busy, RetryAfter: time.Second, Detail: s.String() + ": another transfer is under way"}.Err())
	default:
		r.moving = &transfer{to: to, done: done, tick: h.ticks}
		r.wake()
		r.node.TransferLeader(uint64(to))
		r.mark()
	}
}

// expireTransfer gives a transfer up: raft does so after an election's time.
func (r *replica) expireTransfer() {
	if t := r.moving; t != nil && r.h.ticks-t.tick > electionTicks+1 {
		r.moved(relay.End{Code: relay.Unavailable, RetryAfter: time.Second,
			Detail: fmt.Sprintf("%v: member %d did not take the lead in time", r.id.Shard, t.to)}.Err())
	}
}

// moved ends the transfer that is under way.
func (r *replica) moved(err error) {
	if t := r.moving; t != nil {
		r.moving = nil
		t.done(err)
		r.mark()
	}
}
