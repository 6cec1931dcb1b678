package core

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A Router is an Upstream for a node's edges: what this node's replicas can answer they do, and
// the rest goes to another node over links. It is never shown to nodes, so that nothing is
// forwarded twice.
type Router struct {
	// Set at construction.
	local *Local
	// to returns the way to a node; nil: there is none.
	to func(shard.Node) relay.Upstream
	// region returns a node's, and near this node's own.
	region func(shard.Node) relay.Region
	near   relay.Region

	mu      sync.Mutex
	leaders map[shard.ID]hint // of shards without a replica here, and of late news
}

// A hint is where a shard's leader was said to be.
type hint struct {
	node shard.Node
	at   time.Time
}

// hintFor is how long a hint counts against what a replica here says.
const hintFor = time.Second

var _ relay.Upstream = (*Router)(nil)

func newRouter(local *Local, to func(shard.Node) relay.Upstream, region func(shard.Node) relay.Region, near relay.Region) *Router {
	return &Router{local: local, to: to, region: region, near: near, leaders: make(map[shard.ID]hint)}
}

// Publish implements relay.Upstream: a publish goes to the leader's node.
func (t *Router) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	id := t.local.plan.Load().owner(p.Channel)
	node, ok := t.leader(id)
	if !ok || node == t.local.node {
		// Local answers, or says what is wrong.
		return t.local.Publish(p, t.settle(id, t.local.node, answer))
	}
	up := t.to(node)
	if up == nil {
		t.miss(id, node)
		return relay.ErrUnavailable
	}
	err := up.Publish(p, t.settle(id, node, answer))
	if errors.Is(err, relay.ErrUnavailable) {
		t.miss(id, node)
	}
	return err
}

// settle learns from an answer. A publish that met the wrong node was not taken, and is the
// publisher's to repeat: it alone knows what it sent before and after.
func (t *Router) settle(id shard.ID, asked shard.Node, answer func(relay.Position, relay.End)) func(relay.Position, relay.End) {
	return func(at relay.Position, end relay.End) {
		if end.Code == relay.Moved {
			t.learn(id, asked, end)
			end = relay.End{Code: relay.Unavailable, RetryAfter: relay.BusyRetry, Detail: "the channel's leader has changed; " + end.Detail}
		}
		answer(at, end)
	}
}

// learn notes where a node said that the leader is; nowhere: it is not where it was.
func (t *Router) learn(id shard.ID, asked shard.Node, end relay.End) {
	if len(end.Hint.Alternatives) == 1 && end.Hint.Alternatives[0] != string(asked) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.leaders[id] = hint{shard.Node(end.Hint.Alternatives[0]), t.local.clock()}
		return
	}
	t.miss(id, asked)
}

// miss notes that a node cannot say where the leader is, or cannot be reached: without a replica
// here, that knows better, the next voter of the plan is asked.
func (t *Router) miss(id shard.ID, asked shard.Node) {
	r := t.local.replica(id)
	s := t.local.plan.Load().of(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.leaders[id]; ok && h.node != asked {
		return // there is newer news
	}
	delete(t.leaders, id)
	if r != nil && r.class() != 0 || s == nil {
		return
	}
	at := slices.Index(s.voters, asked)
	for i := range s.voters {
		if next := s.voters[(at+1+i)%len(s.voters)]; next != t.local.node && next != asked {
			t.leaders[id] = hint{next, t.local.clock()}
			return
		}
	}
}

// leader returns the node to publish to: what a replica here knows counts, but for a fresh hint;
// else the last hint, and else the first other voter that the plan names.
func (t *Router) leader(id shard.ID) (shard.Node, bool) {
	t.mu.Lock()
	h, hinted := t.leaders[id]
	t.mu.Unlock()
	if r := t.local.replica(id); r != nil {
		if r.leads() {
			return t.local.node, true
		}
		if hinted && t.local.clock().Sub(h.at) < hintFor {
			return h.node, true
		}
		if r.class() != 0 {
			return r.leader()
		}
	}
	if hinted {
		return h.node, true
	}
	s := t.local.plan.Load().of(id)
	if s == nil {
		return "", false
	}
	for _, n := range s.voters {
		if n != t.local.node { // whose replica, if it was ever there, is gone
			return n, true
		}
	}
	return s.voters[0], true
}

// Subscribe implements relay.Upstream: a subscription reads the replica here, or the nearest.
func (t *Router) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	id := t.local.plan.Load().owner(r.Channel)
	p := t.local.replica(id)
	ephemeral := t.ephemeral(id)
	if p != nil && p.class() != 0 && (!ephemeral || p.memory.Load() != nil) || id == 0 {
		return t.local.Subscribe(r, wake)
	}
	for _, node := range t.readers(id, ephemeral) {
		if up := t.to(node); up != nil {
			return &routed{Subscription: up.Subscribe(r, wake), router: t, shard: id, node: node}
		}
	}
	wake()
	return &refused{relay.End{Code: relay.Unavailable, RetryAfter: relay.BusyRetry, Detail: "no node with the channel can be reached for now"}}
}

func (t *Router) ephemeral(id shard.ID) bool {
	plan := t.local.plan.Load()
	s := plan.of(id)
	return s != nil && plan.groups[s.group].Class == shard.Ephemeral
}

// readers returns the nodes that a shard can be read from, best first: of this region, then the
// leader, then others. An ephemeral one is read from its leader.
func (t *Router) readers(id shard.ID, ephemeral bool) []shard.Node {
	var list []shard.Node
	leader, known := t.leader(id)
	if known && leader != t.local.node {
		list = append(list, leader)
	}
	if ephemeral {
		return list
	}
	s := t.local.plan.Load().of(id)
	if s == nil {
		return list
	}
	for _, n := range s.nodes() {
		if n != t.local.node && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	slices.SortStableFunc(list, func(a, b shard.Node) int {
		switch na, nb := t.region(a) == t.near, t.region(b) == t.near; {
		case na && !nb:
			return -1
		case nb && !na:
			return 1
		}
		return 0
	})
	return list
}

// routed is a subscription at another node. What its End says is learned.
type routed struct {
	relay.Subscription
	router *Router
	shard  shard.ID
	node   shard.Node
}

func (s *routed) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	from := len(dst)
	dst = s.Subscription.Next(dst, maxBytes)
	for i := from; i < len(dst); i++ {
		if dst[i].Kind != relay.KindEnd {
			continue
		}
		switch dst[i].End.Code {
		case relay.Moved:
			s.router.learn(s.shard, s.node, *dst[i].End)
		case relay.Unavailable, relay.LinkLost:
			s.router.miss(s.shard, s.node)
		}
	}
	return dst
}
