package peer

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// Kinds of what goes between nodes.
const (
	Urgent   = iota // messages of raft that must not wait, and signs of life
	Bulk            // other messages of raft
	Snapshot        // chunks of snapshots
	kinds
)

// Reasons why a message was dropped.
const (
	DropNoAddress = iota // nobody says where the node is
	DropLost             // the node is not connected, and was not heard of for LostAfter
	DropFull             // too much waits for the node
	DropTooLarge         // a message longer than 32 MiB
	DropCut              // the connection ended while it was written
	dropReasons
)

// KindNames and DropNames name them, for metrics.
var (
	KindNames = [kinds]string{"urgent", "bulk", "snapshot"}
	DropNames = [dropReasons]string{"no_address", "lost", "full", "too_large", "cut"}
)

// A Traffic is what went one way.
type Traffic struct{ Messages, Bytes uint64 }

// Stats counts since New.
type Stats struct {
	Sent, Received [kinds]Traffic
	Dropped        [dropReasons]uint64
	Dials          uint64 // attempts to connect for raft
	Connects       uint64 // of them, those that succeeded
	Refused        uint64 // connections of others that were refused
	Silent         uint64 // connections closed because nothing came
	Kept           uint64 // chunks of snapshots that the receiver had already, and their bytes
	KeptBytes      uint64
	Resumed        uint64 // fetches that went on after a cut
	Fetching       int    // snapshots on their way here
	Serving        int    // and from here
	Nodes          []NodeStats
}

// NodeStats is about one node.
type NodeStats struct {
	Node      shard.Node
	Alive     bool          // heard of within LostAfter
	Connected bool          // what is sent to it leaves
	Version   uint64        // the newest shard version that it can; 0: not known
	RTT       time.Duration // of a Beat and its Echo, smoothed over about eight; 0: not known
	Waiting   int           // messages, and their bytes
	WaitBytes int
}

type traffic struct{ messages, bytes atomic.Uint64 }

func (t *traffic) add(messages, bytes int) {
	t.messages.Add(uint64(messages))
	t.bytes.Add(uint64(bytes))
}

func (t *traffic) load() Traffic { return Traffic{t.messages.Load(), t.bytes.Load()} }

type counters struct {
	sent, received                   [kinds]traffic
	dropped                          [dropReasons]atomic.Uint64
	dials, connects, refused, silent atomic.Uint64
	kept, keptBytes, resumed         atomic.Uint64
	fetching, serving                atomic.Int64
}

// Stats returns the current numbers.
func (p *Peers) Stats() Stats {
	c := &p.counters
	s := Stats{
		Dials: c.dials.Load(), Connects: c.connects.Load(), Refused: c.refused.Load(), Silent: c.silent.Load(),
		Kept: c.kept.Load(), KeptBytes: c.keptBytes.Load(), Resumed: c.resumed.Load(),
		Fetching: int(c.fetching.Load()), Serving: int(c.serving.Load()),
	}
	for k := range kinds {
		s.Sent[k], s.Received[k] = c.sent[k].load(), c.received[k].load()
	}
	for r := range dropReasons {
		s.Dropped[r] = c.dropped[r].Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, n := range p.nodes {
		ns := NodeStats{
			Node: name, Alive: n.alive.Load(), Connected: n.connected.Load(),
			Version: n.version.Load(), RTT: time.Duration(n.rtt.Load()),
		}
		for _, q := range []*queue{n.urgent, n.bulk} {
			items, bytes := q.size()
			ns.Waiting += items
			ns.WaitBytes += bytes
		}
		s.Nodes = append(s.Nodes, ns)
	}
	slices.SortFunc(s.Nodes, func(a, b NodeStats) int { return cmp.Compare(a.Node, b.Node) })
	return s
}
