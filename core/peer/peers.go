package peer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/time/rate"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
)

// Peers is a node's way to the others. Methods are safe for concurrent use.
type Peers struct {
	// set at construction
	cfg      Config
	dialer   *transport.Dialer
	start    time.Time
	limit    *rate.Limiter
	fetching chan struct{} // slots of fetches
	serving  chan struct{} // slots of snapshots that are served
	refusals *often
	handouts *handouts
	readers  readers
	counters counters

	mu     sync.Mutex
	ctx    context.Context // of Run; nil: not running
	wg     sync.WaitGroup  // of Run, added to under mu while ctx is not done
	closed bool
	nodes  map[shard.Node]*node
}

// A node is another one, as this one sees it.
type node struct {
	// set at construction
	p            *Peers
	name         shard.Node
	urgent, bulk *queue
	dialNow      chan struct{} // one slot: it was heard of, so it is there
	since        time.Time     // when it was first mentioned

	heard     atomic.Int64 // when, since start, in nanoseconds
	alive     atomic.Bool
	connected atomic.Bool
	version   atomic.Uint64
	rtt       atomic.Int64
	unwell    atomic.Int64 // when it last said that it should not lead, as heard; 0: never

	life sync.Mutex // held while Heard or Lost is called

	// guarded by Peers.mu
	stop     context.CancelFunc // ends its dialler; nil: it is not dialled
	incoming relay.Session      // the newest connection that it dialled; nil: none
}

// New opens the socket for dialling.
func New(c Config) (*Peers, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	dialer, err := transport.NewDialer(transport.DialerConfig{
		TLS: c.TLS, AnyHost: true, ALPN: ALPN, PacketConn: c.PacketConn,
		Streams: -1, UniStreams: -1, Window: Window,
		IdleTimeout: 2 * c.SilentAfter, KeepAlive: c.SilentAfter / 2,
	})
	if err != nil {
		return nil, err
	}
	p := &Peers{
		cfg: c, dialer: dialer, start: time.Now(),
		limit:    rate.NewLimiter(rate.Limit(c.SnapshotRate), max(c.SnapshotRate/8, 64<<10)),
		fetching: make(chan struct{}, c.Snapshots),
		serving:  make(chan struct{}, c.Snapshots),
		refusals: &often{every: 30 * time.Second},
		nodes:    make(map[shard.Node]*node),
	}
	p.handouts = newHandouts(c.Patience, c.FetchEnded)
	return p, nil
}

// Run dials and sends until ctx is done, and returns when all that it started has ended. It may
// be called once.
func (p *Peers) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	if p.ctx != nil || p.closed {
		p.mu.Unlock()
		return errors.New("peer: Run was called twice")
	}
	p.ctx = ctx
	for _, n := range p.nodes {
		p.dialLocked(n)
	}
	p.mu.Unlock()

	p.watch(ctx)

	p.mu.Lock()
	p.closed = true
	for _, n := range p.nodes {
		if n.incoming != nil {
			n.incoming.Close(relay.GoingAway, "the node is stopping")
		}
	}
	p.mu.Unlock()
	p.handouts.close()
	err := p.dialer.Close()
	p.wg.Wait()
	return err
}

// Follow keeps a connection to each of these nodes, and to no others. Send follows too.
func (p *Peers) Follow(nodes []shard.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := make(map[shard.Node]bool, len(nodes))
	for _, name := range nodes {
		keep[name] = true
		if name != p.cfg.Node {
			p.dialLocked(p.nodeLocked(name))
		}
	}
	for _, n := range p.nodes {
		if !keep[n.name] && n.stop != nil {
			n.stop()
			n.stop = nil
		}
	}
}

// nodeLocked returns a node, a new one if need be.
func (p *Peers) nodeLocked(name shard.Node) *node {
	n := p.nodes[name]
	if n == nil {
		n = &node{
			p: p, name: name, dialNow: make(chan struct{}, 1), since: time.Now(),
			urgent: newQueue(p.cfg.UrgentItems, 4<<20), bulk: newQueue(1<<16, p.cfg.BulkBytes),
		}
		p.nodes[name] = n
	}
	return n
}

// dialLocked keeps a connection to n from now on.
func (p *Peers) dialLocked(n *node) {
	if p.ctx == nil || p.ctx.Err() != nil || p.closed || n.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	n.stop = cancel
	p.wg.Go(func() {
		defer cancel()
		n.run(ctx)
	})
}

// Send puts messages on their way. It never waits: what has no room is dropped and counted.
func (p *Peers) Send(s shard.Send) {
	p.mu.Lock()
	n := p.nodes[s.To]
	if n == nil || n.stop == nil {
		if p.cfg.Addresses(s.To) == "" || s.To == p.cfg.Node {
			p.mu.Unlock()
			p.drop(DropNoAddress, s.Urgent, s.Bulk)
			return
		}
		n = p.nodeLocked(s.To)
		p.dialLocked(n)
	}
	p.mu.Unlock()
	if !n.hopeful() {
		p.drop(DropLost, s.Urgent, s.Bulk)
		return
	}
	n.put(n.urgent, s.Urgent)
	n.put(n.bulk, s.Bulk)
}

// hopeful reports whether what is sent may arrive before it is of no use.
func (n *node) hopeful() bool {
	return n.connected.Load() || n.alive.Load() || time.Since(n.since) < n.p.cfg.LostAfter
}

func (n *node) put(q *queue, messages []shard.Message) {
	for i := range messages {
		m := &messages[i]
		if m.Raft.GetType() == raftpb.MsgSnap {
			name, _ := m.Snapshot()
			n.p.handouts.announce(shard.Replica{Shard: m.Shard, Number: m.From}, m.To, name)
		}
		if !q.add(m) {
			n.p.drop(DropFull, messages[i:i+1])
		}
	}
}

// drop counts messages that go nowhere. The leader learns that a snapshot's does.
func (p *Peers) drop(reason int, lists ...[]shard.Message) {
	for _, list := range lists {
		p.counters.dropped[reason].Add(uint64(len(list)))
		for i := range list {
			if m := &list[i]; m.Raft.GetType() == raftpb.MsgSnap {
				p.handouts.lost(shard.Replica{Shard: m.Shard, Number: m.From}, m.To)
			}
		}
	}
}

// Unwell returns how long ago a node last said that it should not lead; false: it never did.
func (p *Peers) Unwell(name shard.Node) (time.Duration, bool) {
	p.mu.Lock()
	n := p.nodes[name]
	p.mu.Unlock()
	if n == nil {
		return 0, false
	}
	at := n.unwell.Load()
	return time.Since(p.start) - time.Duration(at), at != 0
}

// Version returns the newest shard version that a node can; 0: not known.
func (p *Peers) Version(name shard.Node) uint64 {
	if name == p.cfg.Node {
		return p.cfg.Version
	}
	p.mu.Lock()
	n := p.nodes[name]
	p.mu.Unlock()
	if n == nil {
		return 0
	}
	return n.version.Load()
}
