package peer

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/transport"
)

// Window is what the socket that serves peers should let them send: room for a region's
// bandwidth, and for what is urgent beside a bulk that nobody reads.
var Window = transport.Window{Stream: 1 << 20, MaxStream: 16 << 20, Connection: 4 << 20, MaxConnection: 32 << 20}

// A Config configures Peers. Node, Fleet, Addresses, TLS and Receive are needed. Functions must
// not wait, but for Receive; they may be called from several goroutines at once.
type Config struct {
	Node    shard.Node
	Fleet   string
	Store   shard.StoreID
	Version uint64 // the newest shard version that this binary can

	// Addresses says where a node is, HOST:PORT; "": not known. It is asked before every dial.
	Addresses func(shard.Node) string
	// TLS holds RootCAs, the fleet's authority, and this node's certificate, for dialling.
	TLS *tls.Config
	// PacketConn is the socket for dialling, closed by Run; nil: one on a free port.
	PacketConn net.PacketConn

	// Receive takes messages from a node, in the order of their stream; what is urgent does not
	// wait for the rest. While Receive waits, that stream's sender waits too; so does the end of Run.
	Receive func(from shard.Node, messages []shard.Message)
	// Heard says that a node is alive, after it was lost or never heard of; Lost that nothing
	// came from it for LostAfter. For one node they come in turn. nil: nobody cares.
	Heard, Lost func(shard.Node)
	// Unwell reports whether this node should not lead for now: its beats say so. nil: it may.
	Unwell func() bool
	// Expect says what speaks against a node with a store; nil: nothing does.
	Expect func(shard.Node, shard.StoreID) error
	// Plan is a digest of the plan by which this node's fleet began, or is to begin: nodes with
	// different ones do not meet. nil, and where either's is empty: it is not compared.
	Plan func() string
	// Incarnations lists shards beyond their first incarnation; Shown gets another node's list.
	// nil: there are none, and nobody cares.
	Incarnations func() []Incarnation
	Shown        func(from shard.Node, list []Incarnation)

	// Snapshot opens a snapshot by its name, for reading from the start or in the middle; the
	// caller closes it, and may ask again. nil: there are none.
	Snapshot func(name uint64) (shard.Frozen, bool)
	// FetchEnded says that a snapshot that r's node announced to a member came to its end: fetched
	// (nil), failed, or lost on the way. Once for each message that announced one, or less often
	// when several did at once. nil: nobody cares.
	FetchEnded func(r shard.Replica, by shard.Number, err error)

	UrgentItems  int           // urgent messages that wait for one node, of 4 MiB at most; 0: 65,536
	BulkBytes    int           // of other messages that wait for one node; 0: 64 MiB
	Beat         time.Duration // between signs of life; 0: 200 ms
	LostAfter    time.Duration // silence after which a node is lost; 0: 1 s
	SilentAfter  time.Duration // silence after which a connection is closed; 0: 2 s
	MinBackoff   time.Duration // between failed dials, with jitter; 0: 50 ms
	MaxBackoff   time.Duration // 0: 2 s
	SnapshotRate int           // bytes per second of all snapshots that leave; 0: 64 MiB
	Snapshots    int           // at once, each way; 0: 2
	ChunkSize    int           // of snapshots, about, in bytes, at most 1 MiB; 0: 512 KiB
	// Patience is how long a fetch goes on without progress, and how long the leader's node waits
	// for it to come, or to come back. 0: 15 s.
	Patience time.Duration

	Log *slog.Logger // nil: none
}

func (c Config) complete() (Config, error) {
	if err := (pki.Name{Fleet: c.Fleet, Role: pki.Node, Name: string(c.Node)}).Check(); err != nil {
		return c, err
	}
	switch {
	case c.Addresses == nil || c.Receive == nil:
		return c, errors.New("peer: a node needs Addresses and Receive")
	case c.TLS == nil || c.TLS.RootCAs == nil:
		return c, errors.New("peer: TLS.RootCAs is nil; give the authority that signs the fleet's certificates")
	case c.ChunkSize > 1<<20:
		return c, errors.New("peer: ChunkSize is above 1 MiB")
	}
	c.UrgentItems = cmp.Or(c.UrgentItems, 1<<16)
	c.BulkBytes = cmp.Or(c.BulkBytes, 64<<20)
	c.Beat = cmp.Or(c.Beat, 200*time.Millisecond)
	c.LostAfter = cmp.Or(c.LostAfter, time.Second)
	c.SilentAfter = cmp.Or(c.SilentAfter, 2*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, 50*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 2*time.Second)
	c.SnapshotRate = cmp.Or(c.SnapshotRate, 64<<20)
	c.Snapshots = cmp.Or(c.Snapshots, 2)
	c.ChunkSize = cmp.Or(c.ChunkSize, 512<<10)
	c.Patience = cmp.Or(c.Patience, 15*time.Second)
	if c.Heard == nil {
		c.Heard = func(shard.Node) {}
	}
	if c.Lost == nil {
		c.Lost = func(shard.Node) {}
	}
	if c.Unwell == nil {
		c.Unwell = func() bool { return false }
	}
	if c.Plan == nil {
		c.Plan = func() string { return "" }
	}
	if c.Incarnations == nil {
		c.Incarnations = func() []Incarnation { return nil }
	}
	if c.Shown == nil {
		c.Shown = func(shard.Node, []Incarnation) {}
	}
	if c.Snapshot == nil {
		c.Snapshot = func(uint64) (shard.Frozen, bool) { return nil, false }
	}
	if c.FetchEnded == nil {
		c.FetchEnded = func(shard.Replica, shard.Number, error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
