package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/peer"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// network is a node's ways to others, and theirs to it.
type network struct {
	// Set at construction.
	node   *Node
	peers  *peer.Peers
	ways   *ways
	doors  *doors
	server *transport.PeerServer

	mu sync.Mutex
	// comers are stores that nodes came with, and that nobody took in yet.
	comers map[shard.Node]shard.StoreID
	alive  map[shard.Node]time.Time // since when
}

// connect prepares the ways to others. What is shown to them is there already.
func (n *Node) connect(nodes, edges relay.Upstream) (*network, error) {
	c := &n.cfg
	w := &network{node: n, comers: make(map[shard.Node]shard.StoreID), alive: make(map[shard.Node]time.Time)}
	toNodes, toLinks, err := c.sockets()
	if err != nil {
		return nil, err
	}
	w.peers, err = peer.New(peer.Config{
		PacketConn: toNodes,
		Node:       c.Name, Fleet: c.Fleet, Store: n.store.Identity().Store, Version: shardVersion,
		Addresses: n.address, TLS: c.TLS, Receive: n.inbox.receive,
		Heard: w.heard, Lost: w.lost, Expect: w.expect, Plan: n.notes.plan,
		Unwell: n.unwell, Incarnations: w.incarnations, Shown: w.shown,
		Snapshot: n.frozen.open, FetchEnded: w.fetchEnded, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	if w.ways, err = newWays(c.Fleet, c.Name, c.TLS, toLinks, n.address, c.Log); err != nil {
		return nil, err
	}
	w.doors = &doors{
		fleet: c.Fleet, node: c.Name, region: c.self().Region, nodes: nodes, edges: edges, log: c.Log,
		known: func(name shard.Node) bool { return n.address(name) != "" },
	}
	w.doors.init()
	w.server, err = transport.NewPeerServer(transport.PeerConfig{
		TLS: c.TLS, PacketConn: c.PacketConn, Serve: w.doors.serve, Window: peer.Window, Log: c.Log,
		Also: map[string]func(context.Context, relay.Session){peer.ALPN: w.peers.Serve},
	})
	return w, err
}

// sockets opens those for dialling; nil: whoever dials opens its own.
func (c *NodeConfig) sockets() (toNodes, toLinks net.PacketConn, err error) {
	if c.Dial == nil {
		return nil, nil, nil
	}
	if toNodes, err = c.Dial(); err != nil {
		return nil, nil, err
	}
	if toLinks, err = c.Dial(); err != nil {
		return nil, nil, errors.Join(err, toNodes.Close())
	}
	return toNodes, toLinks, nil
}

// shardVersion is the newest version of shards that this program can.
const shardVersion = 1

// address says where a node is; "": the list does not have it.
func (n *Node) address(name shard.Node) string {
	for i := range n.cfg.Nodes {
		if n.cfg.Nodes[i].Name == name {
			return n.cfg.Nodes[i].Address
		}
	}
	return ""
}

// run keeps the connections to all nodes of the list.
func (w *network) run(ctx context.Context) error {
	var names []shard.Node
	for _, m := range w.node.cfg.Nodes {
		if m.Name != w.node.cfg.Name {
			names = append(names, m.Name)
		}
	}
	w.peers.Follow(names)
	return w.peers.Run(ctx)
}

func (w *network) heard(name shard.Node) {
	w.mu.Lock()
	w.alive[name] = time.Now()
	w.mu.Unlock()
	w.ways.to(name) // so that the first publish finds it open
	w.node.inbox.ask(func(h *shard.Host) { h.Heard(name) }, nil)
}

func (w *network) lost(name shard.Node) {
	w.mu.Lock()
	delete(w.alive, name)
	w.mu.Unlock()
	w.node.inbox.ask(func(h *shard.Host) { h.Lost(name) }, nil)
}

// wellFor returns for how long a node has been heard of without a pause, and without its saying
// that it should not lead.
func (w *network) wellFor(name shard.Node) time.Duration {
	w.mu.Lock()
	since, ok := w.alive[name]
	w.mu.Unlock()
	if !ok {
		return 0
	}
	well := time.Since(since)
	if ago, ever := w.peers.Unwell(name); ever {
		well = min(well, ago)
	}
	return well
}

// mayLead reports whether a node did not say lately that it should not lead.
func (w *network) mayLead(name shard.Node) bool {
	ago, ever := w.peers.Unwell(name)
	return !ever || ago > unwellFor
}

// unwellFor is how long a node counts as unwell after it said so; it says so with every beat.
const unwellFor = time.Second

// incarnations lists the shards here that were recovered by force: a node that was away then, and
// has replicas that do not know of it, learns so before anything else.
func (w *network) incarnations() []peer.Incarnation {
	var list []peer.Incarnation
	w.node.local.each(func(r *replica) {
		if v := r.view.Load(); v != nil && v.Descriptor != nil && v.Descriptor.Incarnation > 1 {
			list = append(list, peer.Incarnation{Shard: r.id.Shard, Incarnation: v.Descriptor.Incarnation})
		}
	})
	return list
}

func (w *network) shown(_ shard.Node, list []peer.Incarnation) {
	if len(list) == 0 {
		return
	}
	w.node.inbox.ask(func(h *shard.Host) {
		for _, i := range list {
			h.Shown(i.Shard, i.Incarnation)
		}
	}, nil)
}

// expect judges who comes: a node of the list, with the store that it was first met with, or with
// one that a group has taken in.
func (w *network) expect(name shard.Node, id shard.StoreID) error {
	if w.node.address(name) == "" {
		return fmt.Errorf("node %q is not in the list of nodes", name)
	}
	member := false
	w.node.local.each(func(r *replica) {
		if v := r.view.Load(); v != nil && v.Descriptor != nil {
			member = member || slices.ContainsFunc(v.Descriptor.Members, func(m shard.Member) bool {
				return m.Node == name && m.Store == id
			})
		}
	})
	err := w.node.notes.met(name, id, member)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.comers[name] = id
	} else {
		delete(w.comers, name)
	}
	return err
}

// comer returns the store that a node came with and that nobody took in.
func (w *network) comer(name shard.Node) (shard.StoreID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, ok := w.comers[name]
	return id, ok
}

func (w *network) fetchEnded(r shard.Replica, by shard.Number, err error) {
	w.node.inbox.ask(func(h *shard.Host) {
		h.FetchEnded(r, by, err)
		w.node.frozen.ended(r, by)
	}, nil)
}

// Send implements mail.
func (w *network) Send(s shard.Send) {
	for i := range s.Bulk {
		if name, ok := s.Bulk[i].Snapshot(); ok {
			w.node.frozen.told(name, s.Bulk[i].To)
		}
	}
	w.peers.Send(s)
}

// Fetch implements mail.
func (w *network) Fetch(ctx context.Context, f *shard.Fetch, into shard.Staging) error {
	return w.peers.Fetch(ctx, f, into)
}

var _ mail = (*network)(nil)

// fanOut returns a hub over an Upstream. Moved: who asks knows better where to look.
func (n *Node) fanOut(up relay.Upstream, moved bool) *hub.Hub {
	c := n.cfg.Hub
	c.Upstream, c.Moved, c.Log = up, moved, n.log
	return hub.New(c)
}
