package shard

import (
	"errors"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/channel"
)

// Errors of a Log and of States. Any other error means that the store is damaged or the disk is
// failing: the process has to end.
var (
	// ErrNoReplica: the store has no such replica.
	ErrNoReplica = errors.New("no such replica in this store")
	// ErrRemoved: the replica was removed; its number is never used again.
	ErrRemoved = errors.New("replica was removed from this store")
	// ErrTruncated: the entry does not stand in the log any more.
	ErrTruncated = errors.New("entry was truncated")
	// ErrBusy: too many snapshots are frozen or staged; try again later.
	ErrBusy = errors.New("too many snapshots at once")
)

// A LogInfo is what a store knows of a replica's log.
type LogInfo struct {
	Hard  *raftpb.HardState // never nil
	Trunc Place             // the entry before the first one that stands there
	Last  Place             // the last entry; Trunc if there is none
	Bytes uint64            // of entries, about
}

// A Log reads the logs of a node's replicas. They are written by Writes. Safe for concurrent use;
// a read sees every Write that is durable, and may see others. Implementations: core/store, and
// shardtest in memory.
type Log interface {
	// Info reads what stands there; ErrNoReplica, ErrRemoved. A replica whose state is ahead of its log
	// (a crash came between the halves of a snapshot) has an empty log after its state's Place.
	Info(r Replica) (LogInfo, error)
	// Entries returns entries with lo <= index < hi, at least one, and about maxBytes at most.
	// The caller owns the slice, not the entries. ErrTruncated; ErrNoReplica.
	Entries(r Replica, lo, hi, maxBytes uint64) ([]*raftpb.Entry, error)
	// Term returns an entry's term, Trunc's too. ErrTruncated; ErrNoReplica.
	Term(r Replica, index uint64) (uint64, error)
}

// A Write is what one replica wants durable, all or nothing. Writes of one replica take effect in
// the order in which they were handed out; the store keeps nothing of them but the entries.
type Write struct {
	Replica Replica
	// Create makes the replica, without state; one that exists already stays as it is. Others of
	// the same shard with lower numbers are removed.
	Create bool
	// Genesis, with Create: the replica begins with this state, at Origin.
	Genesis *Genesis
	// Remove removes the replica, log and state, and notes its number, so that it is never
	// created again.
	Remove bool
	// Staged, with the Place where it stands, replaces log and state. Hard and Entries come
	// after.
	Staged Staging
	Hard   *raftpb.HardState // nil: as it was
	// Entries are appended; what stood at the first one's index and after is removed.
	Entries []*raftpb.Entry
	// Trunc removes entries up to here, lazily. Zero: none.
	Trunc Place
	// Sync: Host.Written must not be called before the write is durable. Otherwise any time.
	Sync bool

	done []*raftpb.Message // to be sent and stepped when it is durable
}

// Size returns about how many bytes the write takes.
func (w *Write) Size() int {
	n := 64
	for _, e := range w.Entries {
		n += 24 + len(e.GetData())
	}
	return n
}

// States are the applied states of a node's replicas. Safe for concurrent use. Implementations:
// core/store, and shardtest in memory.
type States interface {
	// Begin opens a batch of changes; one at a time for each replica.
	Begin(r Replica) Batch
	// Read returns a state as it stands, or only the part of it that a crash would leave.
	Read(r Replica, durable bool) Reader
	// Freeze keeps a state as it stands for peers to fetch, for as long as they do; ErrBusy.
	Freeze(r Replica) (Frozen, error)
	// Stage gathers a state to come for a replica, which need not exist; ErrBusy. Replica and
	// place name a staging: one that was begun before goes on where it was.
	Stage(r Replica, at Place) (Staging, error)
}

// A Batch is changes to a state, over which it reads. Not for concurrent use.
type Batch interface {
	channel.View
	// Commit makes the changes visible to readers, all at once, and closes the batch. They are
	// durable some time later, in the order of commits.
	Commit() error
	// Close gives the batch up, if it was not committed.
	Close()
}

// A Reader reads a state as it stood at one moment. What it lends stays until Close. Not for
// concurrent use.
type Reader interface {
	channel.Reader
	// Err returns the first error. Whoever uses what was read asks for it first.
	Err() error
	Close()
}

// A Chunk is a part of a state, in the order of keys: what stands at From <= key < To.
type Chunk struct {
	From, To []byte   // To is empty in the last chunk
	Keys     [][]byte // lent until the next call
	Values   [][]byte
	Sum      uint64 // xxhash64 over lengths and bytes of keys and values
}

// A Frozen is a state at one Place, for a peer to fetch. Not for concurrent use.
type Frozen interface {
	At() Place
	Descriptor() Descriptor
	// Chunk reads about size bytes that begin at from; empty: the first.
	Chunk(from []byte, size int) (Chunk, error)
	Close()
}

// A Staging gathers the state of a replica, to be taken in by a Write. It survives a restart, or
// begins anew. Not for concurrent use.
type Staging interface {
	At() Place
	// From is where the next chunk begins; nil and true: all is there.
	From() (key []byte, done bool)
	// Keep takes a chunk from the replica's present state, if that has just these keys and
	// values: false if not.
	Keep(from, to []byte, sum uint64) (bool, error)
	// Put takes a chunk as it came; it must begin where From says, and have the sum it names.
	Put(c Chunk) error
	// Close gives the staging up. Not after a Write took it.
	Close()
}
