package shard

import (
	"log/slog"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A HostConfig configures a Host. Node, Store, Log, States and Freeze are needed.
type HostConfig struct {
	Node   Node
	Store  StoreID
	Log    Log
	States States
	// Freeze keeps a replica's state for a peer to fetch, and returns the name under which the
	// peer finds it. ErrBusy: later.
	Freeze func(r Replica) (name uint64, at Place, d Descriptor, err error)
	// Now is the clock that messages are stamped with. nil: time.Now.
	Now func() time.Time
	// Tick is how often Host.Tick is called. 0: 50 ms. A leader sends a heartbeat every second
	// tick; who hears nothing for 20 to 40 ticks holds an election.
	Tick time.Duration
	// Uncommitted bounds the entries of one replica that no quorum has; past it Busy. 0: 16 MiB.
	Uncommitted uint64
	// Budget bounds all publishes that wait or are on their way, in bytes; 512 count for each
	// besides its body; past it ErrBusy. 0: 256 MiB.
	Budget uint64
	// LagShard and LagNode bound how much log is kept for members that lag, in bytes of one log
	// and of all; past it such a member gets a snapshot. 0: 64 MiB and 1 GiB.
	LagShard, LagNode uint64
	// Version is the newest shard version that this binary can.
	Version uint64
	// VersionOf says which version a node's binary can; 0: not known. nil: Version.
	VersionOf func(Node) uint64
	// Log gets what an operator may want to know. nil: nothing.
	Logger *slog.Logger
}

// A Host is the replicas of a node. Methods are for one goroutine at a time, wait for nothing,
// and leave what is to be done to Take. It holds no timer and no goroutine; what rests costs
// nothing but its memory.
type Host struct{}

// NewHost returns a Host without replicas.
func NewHost(cfg HostConfig) (*Host, error) { panic("not yet") }

// Open adds a replica that the store has.
func (h *Host) Open(r Replica) error { panic("not yet") }

// Create makes a replica of a new shard. Every member's node does the same.
func (h *Host) Create(g *Genesis) error { panic("not yet") }

// Tick lets time pass for those that do not rest.
func (h *Host) Tick() { panic("not yet") }

// Heard says that a node is alive, and Lost that nothing came from it for an election's time:
// those that rest under its lead wake. A node that was never heard of is lost.
func (h *Host) Heard(n Node) { panic("not yet") }

// Lost: see Heard.
func (h *Host) Lost(n Node) { panic("not yet") }

// Receive takes a message from a peer.
func (h *Host) Receive(from Node, m Message) { panic("not yet") }

// Publish takes a publication for a shard: relay.ErrBusy past the budget. A replica that does
// not lead answers Moved with a hint, or Unavailable where it knows no leader. p.Body is lent
// until the answer.
func (h *Host) Publish(s ID, p relay.Publication, answer Answer) error { panic("not yet") }

// Propose puts commands into the log. done is called once: nil when they are applied here.
func (h *Host) Propose(s ID, commands []Command, done func(error)) { panic("not yet") }

// Barrier asks where a state has to stand so that it has everything that was acknowledged
// before: done is called once, when the replica has applied that, or with the End of a refusal.
func (h *Host) Barrier(s ID, done func(end relay.End)) { panic("not yet") }

// A MemberChange adds a member, or changes or ends one's role.
type MemberChange struct {
	Number Number // 0: a new member, with the next number
	Node   Node   // of a new one
	Store  StoreID
	Role   Role // 0: remove it
}

// Change changes the membership, jointly if need be, if it is what is expected. done is called
// once: nil when it is in force.
func (h *Host) Change(s ID, expect []Member, changes []MemberChange, done func(error)) {
	panic("not yet")
}

// Transfer hands leadership to a voter. done is called once: nil when it leads.
func (h *Host) Transfer(s ID, to Number, done func(error)) { panic("not yet") }

// Written says that a Write is done; with Sync, that it is durable.
func (h *Host) Written(w *Write) { panic("not yet") }

// Applied says that an Apply was run, committed and answered.
func (h *Host) Applied(a *Apply) { panic("not yet") }

// Fetched says that a Fetch staged everything, or failed.
func (h *Host) Fetched(f *Fetch, staged Staging, err error) { panic("not yet") }

// FetchEnded says, on the leader's node, that a member's fetch of a snapshot came to its end.
func (h *Host) FetchEnded(r Replica, by Number, err error) { panic("not yet") }

// Flushed says that states were flushed, so that logs may be truncated.
func (h *Host) Flushed() { panic("not yet") }

// Take returns what is to be done now. The Host forgets it.
func (h *Host) Take() Work { panic("not yet") }

// Status tells how a replica stands; false: there is none.
func (h *Host) Status(s ID) (Status, bool) { panic("not yet") }

// Shards lists the shards that have a replica here, in order.
func (h *Host) Shards() []ID { panic("not yet") }

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
