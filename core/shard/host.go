package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
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
	// Uncommitted bounds the entries of one replica that no quorum has; past it publishes wait,
	// up to Budget. 0: 16 MiB.
	Uncommitted uint64
	// Budget bounds all publishes that wait or are on their way, in bytes; 512 count for each
	// besides its body; past it ErrBusy. 0: 256 MiB.
	Budget uint64
	// LagShard and LagNode bound how much log is kept for members that lag, in bytes of one log
	// and of all; past it such a member gets a snapshot. 0: 64 MiB and 1 GiB.
	LagShard, LagNode uint64
	// Version is the newest shard version that this binary can. 0: 1.
	Version uint64
	// VersionOf says which version a node's binary can; 0: not known. nil: Version.
	VersionOf func(Node) uint64
	// Logger gets what an operator may want to know. nil: nothing.
	Logger *slog.Logger
}

func (c HostConfig) filled() (HostConfig, error) {
	if c.Node == "" || c.Log == nil || c.States == nil || c.Freeze == nil {
		return c, errors.New("shard: a HostConfig needs Node, Log, States and Freeze")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	for _, f := range []struct {
		field *uint64
		value uint64
	}{
		{&c.Uncommitted, 16 << 20}, {&c.Budget, 256 << 20},
		{&c.LagShard, 64 << 20}, {&c.LagNode, 1 << 30}, {&c.Version, 1},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if c.VersionOf == nil {
		v := c.Version
		c.VersionOf = func(Node) uint64 { return v }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// A Host is the replicas of a node. Methods are for one goroutine at a time, wait for nothing,
// and leave what is to be done to Take. It holds no timer and no goroutine; what rests costs
// nothing but its memory. Answers may be called from inside every method, and must not call the Host.
type Host struct {
	// Set at construction.
	cfg HostConfig

	shards map[ID]*replica      // those that take part
	dying  map[Replica]*replica // removed, but an Apply of theirs is out
	nodes  map[Node]*peer

	dirty   []*replica // those that may have work
	awake   []*replica // those that are ticked
	sending []*peer    // those that messages wait for
	due     dueHeap
	out     Work // without Send

	ticks   uint64
	ids     uint64 // the last one given to a proposal or a read
	used    uint64 // of Budget
	tail    uint64 // bytes of entries kept in memory
	scratch []byte
	err     error // the first
}

// A peer is another node.
type peer struct {
	name    Node
	alive   bool
	waiting bool // it is in Host.sending
	urgent  []Message
	bulk    []Message
}

// NewHost returns a Host without replicas.
func NewHost(cfg HostConfig) (*Host, error) {
	cfg, err := cfg.filled()
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg:    cfg,
		shards: make(map[ID]*replica),
		dying:  make(map[Replica]*replica),
		nodes:  make(map[Node]*peer),
		// An answer to a read of an earlier process must not be taken for one of this.
		ids: uint64(max(cfg.Now().UnixNano(), 0)),
	}, nil
}

// Err returns the first error of the store, or of a log that contradicts itself. The Host does
// nothing after it; the process has to end.
func (h *Host) Err() error { return h.err }

func (h *Host) fail(err error) {
	if h.err == nil && err != nil {
		h.err = err
	}
}

// guard turns raft's panics into Err. It is deferred by whatever calls raft.
func (h *Host) guard() {
	switch p := recover().(type) {
	case nil:
	case *raftPanic:
		h.fail(p)
	case *storeError:
		h.fail(p)
	default:
		panic(p)
	}
}

// Open adds a replica that the store has. One that has applied its own removal, and crashed before
// that was done, is removed.
func (h *Host) Open(r Replica) error {
	if err := h.free(r); err != nil {
		return err
	}
	info, err := h.cfg.Log.Info(r)
	if err != nil {
		return fmt.Errorf("open %v: %w", r, err)
	}
	state := h.cfg.States.Read(r, false)
	d, have := ReadDescriptor(state)
	applied, _ := ReadApplied(state)
	err = state.Err()
	state.Close()
	if err != nil {
		return fmt.Errorf("open %v: read state: %w", r, err)
	}
	var descriptor *Descriptor
	if have && d.Member(r.Number) == nil {
		h.dying[r] = nil // no Apply of it is out
		h.out.Writes = append(h.out.Writes, &Write{Replica: r, Remove: true, Sync: true})
		return nil
	} else if have {
		descriptor = &d
	} else if info.Last.Index > 0 {
		return fmt.Errorf("open %v: %w: its log ends at %d, and its state has no descriptor", r, ErrDamaged, info.Last.Index)
	}
	return h.start(r, info, descriptor, applied)
}

// Create makes a replica of a new shard. Every member's node does the same.
func (h *Host) Create(g *Genesis) error {
	d := g.descriptor()
	if err := d.Check(); err != nil {
		return err
	}
	m := d.On(h.cfg.Node)
	if m == nil {
		return fmt.Errorf("create %v: node %q is none of its members", d.Shard, h.cfg.Node)
	}
	r := Replica{Shard: d.Shard, Number: m.Number}
	if err := h.free(r); err != nil {
		return err
	}
	h.out.Writes = append(h.out.Writes, &Write{Replica: r, Create: true, Genesis: g, Sync: true})
	info := LogInfo{Trunc: Origin, Last: Origin}
	return h.start(r, info, &d, Origin)
}

// descriptor is the one that Write writes.
func (g *Genesis) descriptor() Descriptor {
	d := g.Descriptor
	d.Version = max(d.Version, 1)
	if n := len(d.Members); n > 0 {
		d.Next = max(d.Next, d.Members[n-1].Number+1)
	}
	return d
}

// free refuses a replica of a shard that has one here.
func (h *Host) free(r Replica) error {
	if h.err != nil {
		return h.err
	}
	if r.Shard == 0 || r.Number == 0 || r.Number > math.MaxInt64 {
		return fmt.Errorf("shard: %v is no replica", r)
	}
	if old := h.shards[r.Shard]; old != nil {
		return fmt.Errorf("shard: %v cannot run beside %v", r, old.id)
	}
	return nil
}

func (h *Host) start(id Replica, info LogInfo, d *Descriptor, applied Place) error {
	r, err := newReplica(h, id, info, d, applied)
	if err != nil {
		return err
	}
	h.shards[id.Shard] = r
	if d == nil {
		return nil // it rests until a leader writes
	}
	h.peers(d)
	r.wake()
	if d.alone(id.Number) {
		defer h.guard()
		_ = r.node.Campaign() // nobody else could lead: why wait
	}
	r.mark()
	r.observe()
	return nil
}

// alone reports whether a member is the only voter.
func (d *Descriptor) alone(n Number) bool {
	for _, m := range d.Members {
		if m.Role != Learner && (m.Number != n || m.Role != Voter) {
			return false
		}
	}
	return d.Member(n) != nil && d.Member(n).Role == Voter
}

// peers makes sure that the nodes of members are known.
func (h *Host) peers(d *Descriptor) {
	for i := range d.Members {
		h.peer(d.Members[i].Node)
	}
}

func (h *Host) peer(n Node) *peer {
	p := h.nodes[n]
	if p == nil {
		p = &peer{name: n, alive: n == h.cfg.Node}
		h.nodes[n] = p
	}
	return p
}

// find returns the replica if it takes part.
func (h *Host) find(id Replica) *replica {
	if r := h.shards[id.Shard]; r != nil && r.id == id {
		return r
	}
	return nil
}

// Shards lists the shards that have a replica here, in order.
func (h *Host) Shards() []ID {
	list := make([]ID, 0, len(h.shards))
	for id := range h.shards {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// nobody is the End for a shard that has no replica here.
func nobody(s ID) relay.End {
	return relay.End{Code: relay.Moved, Detail: s.String() + " has no replica on this node",
		Hint: relay.Hint{Shard: s.String()}}
}
