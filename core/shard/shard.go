package shard

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// An ID names a shard. It is never reused; 0 is none.
type ID uint64

// String returns "s12".
func (id ID) String() string { return "s" + strconv.FormatUint(uint64(id), 10) }

// ParseID parses what String returned.
func ParseID(s string) (ID, error) {
	digits, ok := strings.CutPrefix(s, "s")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || n == 0 {
		return 0, fmt.Errorf("shard %q: write s and a number, such as s12", s)
	}
	return ID(n), nil
}

// A Number tells the replicas of a shard apart, for raft too. It is never reused; 0 is none.
type Number uint64

// A Node is the name of a core process.
type Node string

// A StoreID names a store: random, made with its folder. A node with a new disk has a new one.
type StoreID [16]byte

func (s StoreID) String() string { return hex.EncodeToString(s[:]) }

// A Replica is a shard's copy on a node.
type Replica struct {
	Shard  ID
	Number Number
}

func (r Replica) String() string { return fmt.Sprintf("%v/%d", r.Shard, r.Number) }

// Compare orders by shard, then number.
func (r Replica) Compare(o Replica) int {
	return cmp.Or(cmp.Compare(r.Shard, o.Shard), cmp.Compare(r.Number, o.Number))
}

// A Place is an entry's in a log.
type Place struct{ Index, Term uint64 }

// A Class is what an acknowledgement means; see DESIGN.md, section 5.
type Class uint8

const (
	Region    Class = iota + 1 // stored by a quorum within the home region
	Global                     // stored by a quorum across regions
	Ephemeral                  // sequenced by the leader, in memory; the log has epochs only
)

func (c Class) String() string {
	switch c {
	case Region:
		return "region"
	case Global:
		return "global"
	case Ephemeral:
		return "ephemeral"
	}
	return "unspecified"
}

// ParseClass parses what String returned.
func ParseClass(s string) (Class, error) {
	for _, c := range []Class{Region, Global, Ephemeral} {
		if c.String() == s {
			return c, nil
		}
	}
	return 0, fmt.Errorf("class %q: classes are ephemeral, region and global", s)
}

// A Role is a member's part in its group.
type Role uint8

const (
	Voter Role = iota + 1
	Learner
	// Incoming and Outgoing are voters during a joint change.
	Incoming
	Outgoing
	Demoting // as Outgoing, but a learner after that
)

func (r Role) String() string {
	return [...]string{"unspecified", "voter", "learner", "incoming", "outgoing", "demoting", "unknown"}[min(r, Demoting+1)]
}

// A Member is a replica as its group knows it.
type Member struct {
	Number Number
	Node   Node
	Store  StoreID
	Role   Role
}

// A Descriptor says what a shard is. It stands in the state, so that all replicas agree.
type Descriptor struct {
	Shard ID
	Class Class
	// Incarnation rises with every unsafe recovery. Who is shown a higher one stops serving.
	Incarnation uint64
	// Version gates types of commands; it rises when all replicas can.
	Version uint64
	Members []Member // by number
	// Joint says that a change of membership is under way. It ends by itself.
	Joint bool
	Next  Number // the next member's
	// Prefer is the member that an operator wants to lead; 0: none. Invariant: it is 0, or a member.
	Prefer Number
}

// Member returns the member with a number, or nil.
func (d *Descriptor) Member(n Number) *Member {
	for i := range d.Members {
		if d.Members[i].Number == n {
			return &d.Members[i]
		}
	}
	return nil
}

// On returns the member on a node, or nil.
func (d *Descriptor) On(node Node) *Member {
	for i := range d.Members {
		if d.Members[i].Node == node {
			return &d.Members[i]
		}
	}
	return nil
}
