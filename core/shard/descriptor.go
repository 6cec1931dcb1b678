package shard

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Bounds of a descriptor, for whoever decodes one.
const (
	maxMembers  = 64
	maxNodeName = 255
)

// ConfState is the membership as raft has it.
func (d *Descriptor) ConfState() *raftpb.ConfState {
	cs := &raftpb.ConfState{}
	for i := range d.Members {
		n := uint64(d.Members[i].Number)
		switch d.Members[i].Role {
		case Voter:
			cs.Voters = append(cs.Voters, n)
			if d.Joint {
				cs.VotersOutgoing = append(cs.VotersOutgoing, n)
			}
		case Learner:
			cs.Learners = append(cs.Learners, n)
		case Incoming:
			cs.Voters = append(cs.Voters, n)
		case Outgoing:
			cs.VotersOutgoing = append(cs.VotersOutgoing, n)
		case Demoting:
			cs.VotersOutgoing = append(cs.VotersOutgoing, n)
			cs.LearnersNext = append(cs.LearnersNext, n)
		}
	}
	if d.Joint {
		cs.AutoLeave = new(true)
	}
	return cs
}

// A confContext is the context of a change of membership: the proposal, and of new members what
// raft does not know.
type confContext struct {
	id      uint64
	members []Member // Number, Node and Store; Role is raft's affair
}

// append: version 1, id (8 bytes), then of each member: number, node, store (16 bytes).
func (c *confContext) append(b []byte) []byte {
	b = append(b, entryVersion)
	b = binary.BigEndian.AppendUint64(b, c.id)
	for i := range c.members {
		m := &c.members[i]
		b = binary.AppendUvarint(b, uint64(m.Number))
		b = putString(b, m.Node)
		b = append(b, m.Store[:]...)
	}
	return b
}

func (c *confContext) decode(b []byte) error {
	*c = confContext{}
	if len(b) == 0 {
		return nil // raft's own: a joint change ends
	}
	if len(b) < entryHeader || b[0] != entryVersion {
		return fmt.Errorf("%w: context of a change of membership begins with %x", ErrDamaged, b[:min(len(b), 9)])
	}
	c.id = binary.BigEndian.Uint64(b[1:])
	d := decoder{b: b[entryHeader:]}
	for !d.done() && len(c.members) < maxMembers {
		m := Member{Number: Number(d.uint()), Node: Node(append([]byte(nil), d.str()...))}
		copy(m.Store[:], d.take(len(m.Store)))
		if d.bad {
			return fmt.Errorf("%w: context of a change of membership", ErrDamaged)
		}
		c.members = append(c.members, m)
	}
	return nil
}

// decodeConfChange reads an entry that changes the membership, and its context. Both kinds of
// raft's are read as the newer one.
func decodeConfChange(e *raftpb.Entry) (cc *raftpb.ConfChangeV2, ctx confContext, err error) {
	cc = &raftpb.ConfChangeV2{}
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		return nil, ctx, fmt.Errorf("%w: change of membership: %w", ErrDamaged, err)
	}
	return cc, ctx, ctx.decode(cc.GetContext())
}

// changed returns the descriptor after a change of membership, or its joint part.
func (d *Descriptor) changed(cc *raftpb.ConfChangeV2, ctx *confContext) (*Descriptor, error) {
	n := *d
	n.Members = append([]Member(nil), d.Members...)
	if cc.LeaveJoint() {
		n.leaveJoint()
		return &n, nil
	}
	if d.Joint {
		return nil, fmt.Errorf("%w: a change of membership began within another", ErrDamaged)
	}
	_, joint := cc.EnterJoint()
	for _, c := range cc.GetChanges() {
		number := Number(c.GetNodeId())
		if number == 0 {
			continue
		}
		m := n.Member(number)
		switch c.GetType() {
		case raftpb.ConfChangeAddNode, raftpb.ConfChangeAddLearnerNode:
			if m == nil {
				var err error
				if m, err = n.add(number, ctx); err != nil {
					return nil, err
				}
			}
			m.Role = nextRole(m.Role, c.GetType() == raftpb.ConfChangeAddNode, joint)
		case raftpb.ConfChangeRemoveNode:
			switch {
			case m == nil:
			case joint && (m.Role == Voter || m.Role == Outgoing || m.Role == Demoting):
				m.Role = Outgoing
			default:
				n.remove(number)
			}
		default:
			return nil, fmt.Errorf("%w: change of membership of type %v", ErrDamaged, c.GetType())
		}
	}
	n.Joint = joint
	return &n, nil
}

// nextRole is a member's role after it was made a voter, or a learner. 0: it is new.
func nextRole(r Role, voter, joint bool) Role {
	switch {
	case voter && (r == Voter || r == Outgoing || r == Demoting):
		return Voter
	case voter && joint:
		return Incoming
	case voter:
		return Voter
	case joint && (r == Voter || r == Outgoing || r == Demoting):
		return Demoting
	}
	return Learner
}

func (d *Descriptor) add(n Number, ctx *confContext) (*Member, error) {
	for _, m := range ctx.members {
		if m.Number != n {
			continue
		}
		if n < d.Next || len(d.Members) >= maxMembers {
			return nil, fmt.Errorf("%w: member %d is added, but the next is %d, of %d at most",
				ErrDamaged, n, d.Next, maxMembers)
		}
		d.Next = n + 1
		d.Members = append(d.Members, Member{Number: n, Node: m.Node, Store: m.Store})
		return &d.Members[len(d.Members)-1], nil
	}
	return nil, fmt.Errorf("%w: member %d is added without its node", ErrDamaged, n)
}

func (d *Descriptor) remove(n Number) {
	d.forget(n)
	for i := range d.Members {
		if d.Members[i].Number == n {
			d.Members = append(d.Members[:i], d.Members[i+1:]...)
			return
		}
	}
}

// forget drops the wish that a member lead, which ends with it: numbers are never reused.
func (d *Descriptor) forget(n Number) {
	if d.Prefer == n {
		d.Prefer = 0
	}
}

func (d *Descriptor) leaveJoint() {
	list := d.Members[:0]
	for _, m := range d.Members {
		switch m.Role {
		case Outgoing:
			d.forget(m.Number)
			continue
		case Incoming:
			m.Role = Voter
		case Demoting:
			m.Role = Learner
		}
		list = append(list, m)
	}
	d.Members, d.Joint = list, false
}

// append: version, shard, class, incarnation, version of the shard, next, joint (0 or 1), number of
// members, and of each: number, role, node, store (16 bytes); then, if one is preferred, its number.
func (d *Descriptor) append(b []byte) []byte {
	b = append(b, entryVersion)
	for _, v := range []uint64{uint64(d.Shard), uint64(d.Class), d.Incarnation, d.Version,
		uint64(d.Next), uint64(bit(d.Joint)), uint64(len(d.Members))} {
		b = binary.AppendUvarint(b, v)
	}
	for i := range d.Members {
		m := &d.Members[i]
		b = binary.AppendUvarint(b, uint64(m.Number))
		b = append(b, byte(m.Role))
		b = putString(b, m.Node)
		b = append(b, m.Store[:]...)
	}
	if d.Prefer != 0 {
		b = binary.AppendUvarint(b, uint64(d.Prefer))
	}
	return b
}

func decodeDescriptor(b []byte) (Descriptor, error) {
	damaged := fmt.Errorf("%w: descriptor %x", ErrDamaged, b[:min(len(b), 64)])
	if len(b) == 0 || b[0] != entryVersion {
		return Descriptor{}, damaged
	}
	d := decoder{b: b[1:]}
	r := Descriptor{Shard: ID(d.uint()), Class: Class(d.uint()), Incarnation: d.uint(), Version: d.uint(),
		Next: Number(d.uint()), Joint: d.uint() != 0}
	n := d.uint()
	if n > maxMembers {
		return Descriptor{}, damaged
	}
	for range n {
		m := Member{Number: Number(d.uint()), Role: Role(d.byte()), Node: Node(append([]byte(nil), d.str()...))}
		copy(m.Store[:], d.take(len(m.Store)))
		r.Members = append(r.Members, m)
	}
	if len(d.b) > 0 {
		r.Prefer = Number(d.uint())
		d.bad = d.bad || r.Prefer == 0
	}
	if !d.done() {
		return Descriptor{}, damaged
	}
	return r, nil
}

// Check refuses a descriptor that a shard cannot begin with.
func (d *Descriptor) Check() error {
	if d.Shard == 0 || d.Class < Region || d.Class > Ephemeral {
		return fmt.Errorf("shard: descriptor of %v, class %v: name both", d.Shard, d.Class)
	}
	voters, last := 0, Number(0)
	for _, m := range d.Members {
		switch {
		case m.Number <= last || m.Node == "" || len(m.Node) > maxNodeName:
			return fmt.Errorf("shard %v: member %d on node %q: numbers rise from 1, and nodes have names of 1 to %d bytes",
				d.Shard, m.Number, m.Node, maxNodeName)
		case m.Role == Voter:
			voters++
		case m.Role != Learner || d.Joint:
			return fmt.Errorf("shard %v: member %d is %v: a shard begins with voters and learners", d.Shard, m.Number, m.Role)
		}
		last = m.Number
	}
	if voters == 0 || len(d.Members) > maxMembers {
		return fmt.Errorf("shard %v: %d members, %d of them voters: at least one voter, at most %d members",
			d.Shard, len(d.Members), voters, maxMembers)
	}
	return nil
}
