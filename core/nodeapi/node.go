package nodeapi

import (
	"context"
	"errors"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// Errors of a Node, to be wrapped with what was asked for and the remedy. Any other error is a
// fault of the node's.
var (
	// ErrNotFound: no such shard, channel or node is known here.
	ErrNotFound = errors.New("not found")
	// ErrNotLeader: the replica here does not lead; ask the leader's node.
	ErrNotLeader = errors.New("does not lead")
	// ErrConflict: what is asked does not fit what is there.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: not now, such as without a quorum; repeat it later.
	ErrUnavailable = errors.New("unavailable")
)

// A Node answers for its own replicas. Safe for concurrent use. Results belong to the caller.
type Node interface {
	// Shards lists those after a shard, at most limit, in order.
	Shards(after shard.ID, limit int) ([]Shard, error)
	// Shard returns one; ErrNotFound.
	Shard(id shard.ID) (Shard, error)
	// Channels lists those that begin with prefix and come after a channel, at most limit, in
	// the order of their names, over all replicas here.
	Channels(prefix string, after relay.Channel, limit int) ([]Channel, error)
	// Channel returns one; ErrNotFound.
	Channel(name relay.Channel) (Channel, error)
	// Transfer hands leadership to the voter on a node, and returns when it leads or ctx ends.
	// ErrNotFound, ErrNotLeader, ErrConflict (no voter there), ErrUnavailable.
	Transfer(ctx context.Context, id shard.ID, to shard.Node) error
	// Replace starts to give a node that has a new store its replicas back: in each shard that
	// is led here and has a member of that node with another store, a learner under a new
	// number, then its promotion, then the old one's removal. It does not wait. Repeated, it
	// goes on where it was, and tells how far it is. ErrNotFound: no shard here knows the node.
	Replace(node shard.Node) ([]Replacement, error)
}

// A Shard is what a node knows of one that it has a replica of. What only a leader knows is
// there if State is "leading".
type Shard struct {
	Shard  string       `json:"shard"` // s12
	Class  string       `json:"class"`
	Node   shard.Node   `json:"node"`   // that answers
	Number shard.Number `json:"number"` // of its replica
	Role   string       `json:"role"`   // voter, learner, incoming, outgoing
	State  string       `json:"state"`  // following, elected, leading
	Leader shard.Node   `json:"leader"` // empty: not known
	// Prefer is the node that an operator wants to lead; empty: nobody said.
	Prefer      shard.Node `json:"prefer,omitempty"`
	Incarnation uint64     `json:"incarnation"`
	Version     uint64     `json:"version"`
	Term        uint64     `json:"term"`
	Commit      uint64     `json:"commit"`  // index of the last entry that a quorum has, as known here
	Applied     uint64     `json:"applied"` // and of the last one applied here
	LogBytes    uint64     `json:"log_bytes"`
	Resting     bool       `json:"resting"`
	Owns        []Slots    `json:"owns,omitempty"`
	Members     []Member   `json:"members"`
	Faults      []string   `json:"faults,omitempty"` // what it lacks for its class; a sentence each
}

// Slots are what a shard owns of a namespace.
type Slots struct {
	Namespace relay.Namespace `json:"namespace"`
	Slots     int             `json:"slots"`
	Pins      int             `json:"pins"` // channels beyond the slots
}

// A Member is a replica as its group knows it.
type Member struct {
	Number   shard.Number `json:"number"`
	Node     shard.Node   `json:"node"`
	Store    string       `json:"store"`
	Role     string       `json:"role"`
	Progress *Progress    `json:"progress,omitempty"` // from a leader
}

// Progress is how far a member is, as the leader knows.
type Progress struct {
	Match    uint64 `json:"match"` // index of the last entry that it stored
	Lag      uint64 `json:"lag"`   // entries that it has not stored
	Active   bool   `json:"active"`
	Snapshot bool   `json:"snapshot"` // it waits for one
}

// A Channel is what a replica has of one.
type Channel struct {
	Channel  relay.Channel `json:"channel"`
	Shard    string        `json:"shard"`
	Class    string        `json:"class"`
	Node     shard.Node    `json:"node"`   // that answers
	State    string        `json:"state"`  // of its replica: following, elected, leading
	Leader   shard.Node    `json:"leader"` // empty: not known
	Position Position      `json:"position"`
	First    Position      `json:"first"`    // the oldest message that is kept; after Position: none is
	Messages uint64        `json:"messages"` // kept
	Bytes    uint64        `json:"bytes"`
	Used     string        `json:"used,omitempty"` // the last publish, RFC 3339
}

// A Position is relay's in JSON.
type Position struct {
	Epoch relay.Epoch `json:"epoch"`
	Seq   relay.Seq   `json:"seq"`
}

func (p Position) String() string { return relay.Position(p).String() }

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool { return relay.Position(p).Before(relay.Position(q)) }

// A Replacement is how far a shard is in giving a node its replica back.
type Replacement struct {
	Shard string       `json:"shard"`
	Old   shard.Number `json:"old,omitempty"`
	New   shard.Number `json:"new,omitempty"`
	// Step: waiting (for the node), adding, catching-up, promoting, removing, done, failed.
	Step  string `json:"step"`
	Error string `json:"error,omitempty"`
}

// Steps of a Replacement after which nothing more happens by itself.
const (
	StepDone   = "done"
	StepFailed = "failed"
)
