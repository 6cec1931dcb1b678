package shard

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/relay"
)

// Work is what a Host wants done. Within a kind, what belongs to one replica is done in order;
// kinds and replicas do not wait for each other.
type Work struct {
	Send    []Send
	Writes  []*Write
	Applies []*Apply
	Fetches []*Fetch
	Upkeep  []Replica // run Upkeep over their states, and propose what it returns
	Events  []Event
}

// A Send is messages for one node, in order. They may be lost. Urgent ones (votes, heartbeats,
// what answers them) must not wait behind the others.
type Send struct {
	To     Node
	Urgent []Message
	Bulk   []Message
}

// A Message is raft's, between two replicas of a shard.
type Message struct {
	Shard       ID
	From, To    Number
	Incarnation uint64
	// Store is where To is, as the group knows: another one, such as a node's new disk, must not
	// answer for it, though it has the same number. Zero: not known.
	Store StoreID
	// Rest, with a heartbeat: the group rests after it; with its answer: so does who sends it.
	Rest bool
	// Gone: To was removed from the group. There is no Raft then.
	Gone bool
	// Keep, from a leader: entries after it are not on all members yet, so that logs keep them.
	// 0: not known.
	Keep uint64
	Raft *raftpb.Message // shared and immutable
}

// A Fetch asks for the state that a leader's snapshot names: stage it, then call Host.Fetched.
type Fetch struct {
	Replica  Replica
	From     Node
	Snapshot uint64 // the leader's name for it
	At       Place

	message *raftpb.Message
}

// An Event is a change that others than raft may want to know.
type Event struct {
	Replica    Replica
	Role       RoleOf
	Leader     Number // 0: not known
	Term       uint64
	Descriptor *Descriptor // the one in force; shared and immutable
	Removed    bool        // the replica is gone
	Stopped    bool        // its group was recovered without it, under a higher incarnation
}

// A RoleOf is what a replica is to its group just now.
type RoleOf uint8

const (
	Following RoleOf = iota
	// Elected: it leads, but has not applied an entry of its term; it does not serve yet.
	Elected
	// Leading: it serves.
	Leading
)

// An Apply is committed entries of one replica. Machine.Run runs it.
type Apply struct {
	Replica Replica
	Entries []*raftpb.Entry
	Result  Result // set by Machine.Run

	proposals []*proposal // of Entries; nil: not made here
	done      []*raftpb.Message
}

// A Result is what applying did.
type Result struct {
	Applied    Place
	Touched    []Touched
	Descriptor *Descriptor // if it changed
	Due        uint64      // when retention has to look again, Unix ms; 0: never

	answers []answered
}

// A Touched is a channel that got messages, and the epoch of the first.
type Touched struct {
	Channel relay.Channel
	Epoch   relay.Epoch
}

// An Answer tells a publisher what became of it. It is called once and must not block.
type Answer = func(at relay.Position, end relay.End)

type answered struct {
	answer Answer
	at     relay.Position
	end    relay.End
}
