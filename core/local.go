package core

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// Local is an Upstream over a node's own replicas: they answer, or Moved; nothing is forwarded.
// Any replica is read, the leader's is written.
type Local struct {
	// Set at construction.
	node   shard.Node
	states shard.States
	clock  func() time.Time
	// ask runs a call on the Host's goroutine; or else gone, where there will be none.
	ask func(call func(*shard.Host), gone func())
	// fail is told what the process cannot go on with.
	fail func(error)

	plan     atomic.Pointer[plan]
	readOnly atomic.Bool
	queue    queue
	topics   topics

	mu       sync.RWMutex
	replicas map[shard.ID]*replica // the newest of each shard
	// leaderless is how many of them know no leader, or more: one that is replaced still counts.
	leaderless atomic.Int32
}

var _ relay.Upstream = (*Local)(nil)

func newLocal(node shard.Node, states shard.States, p *plan, queued, subscriptions int) *Local {
	l := &Local{node: node, states: states, clock: time.Now, replicas: make(map[shard.ID]*replica)}
	l.plan.Store(p)
	l.queue.init(queued)
	l.topics.init(subscriptions)
	return l
}

// Publish implements relay.Upstream.
func (l *Local) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	return l.queue.push(p, answer)
}

// Subscribe implements relay.Upstream.
func (l *Local) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	p, end := l.find(r.Channel)
	if end.Code != relay.Done {
		wake()
		return &refused{end}
	}
	switch memory := p.memory.Load(); {
	case memory != nil:
		return memory.Subscribe(r, wake)
	case p.class() == shard.Ephemeral:
		wake()
		return &refused{p.moved("this node does not lead the channel's shard")}
	}
	return l.topics.subscribe(p, r, wake)
}

// find returns the replica that a channel is read from, or why there is none.
func (l *Local) find(ch relay.Channel) (*replica, relay.End) {
	if _, err := relay.ParseChannel(string(ch)); err != nil {
		return nil, relay.End{Code: relay.BadChannel, Detail: err.Error()}
	}
	plan := l.plan.Load()
	id := plan.owner(ch)
	if id == 0 {
		return nil, unknownNamespace(plan, ch.Namespace())
	}
	if r := l.replica(id); r != nil && r.class() != 0 {
		return r, relay.End{}
	}
	end := relay.End{
		Code: relay.Moved, Detail: fmt.Sprintf("this node has no replica of shard %v", id),
		Hint: relay.Hint{Shard: id.String()},
	}
	if s := plan.of(id); s != nil {
		for _, n := range s.nodes() {
			if n != l.node {
				end.Hint.Alternatives = append(end.Hint.Alternatives, string(n))
			}
		}
	}
	if len(end.Hint.Alternatives) == 0 {
		end.Code, end.RetryAfter = relay.Unavailable, time.Second
	}
	return nil, end
}

func unknownNamespace(p *plan, ns relay.Namespace) relay.End {
	var names []string
	for name := range p.slots {
		names = append(names, string(name))
	}
	slices.Sort(names)
	if len(names) > 8 {
		names = append(names[:8], "…")
	}
	return relay.End{
		Code:   relay.UnknownNamespace,
		Detail: fmt.Sprintf("namespace %q is not defined here; defined are %q", ns, names),
	}
}

func (l *Local) replica(id shard.ID) *replica {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.replicas[id]
}

// all calls f for every replica, under a lock: f does no more than look at it.
func (l *Local) all(f func(*replica)) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.replicas {
		f(r)
	}
}

// each calls f for every replica, in order of shards.
func (l *Local) each(f func(*replica)) {
	var list []*replica
	l.all(func(r *replica) { list = append(list, r) })
	slices.SortFunc(list, func(a, b *replica) int { return a.id.Compare(b.id) })
	for _, r := range list {
		f(r)
	}
}

// open returns the replica with id, and makes it if it is new; nil if a newer one took its place.
func (l *Local) open(id shard.Replica) *replica {
	l.mu.Lock()
	old := l.replicas[id.Shard]
	if old != nil && old.id.Number >= id.Number {
		l.mu.Unlock()
		if old.id == id {
			return old
		}
		return nil
	}
	r := &replica{id: id, local: l}
	l.replicas[id.Shard] = r
	l.mu.Unlock()
	if old != nil {
		l.end(old)
	}
	return r
}

// remove forgets a replica that is gone.
func (l *Local) remove(r *replica) {
	l.mu.Lock()
	if l.replicas[r.id.Shard] == r {
		delete(l.replicas, r.id.Shard)
	}
	l.mu.Unlock()
	l.end(r)
}

// end ends a replica's subscriptions.
func (l *Local) end(r *replica) {
	end := r.moved("this node has no replica of the channel's shard any more")
	l.topics.mu.Lock()
	r.ended = &end
	l.topics.mu.Unlock()
	l.topics.rouse(r, 0)
}

// interrupt tells a replica's subscriptions whether its leader is lost.
func (l *Local) interrupt(r *replica, lost bool) {
	l.topics.mu.Lock()
	same := r.lost == lost
	r.lost = lost
	l.topics.mu.Unlock()
	if !same {
		l.topics.rouse(r, 0)
	}
}

// publish hands one publish to the Host, or refuses it. Runner only.
func (l *Local) publish(h *shard.Host, c *command) {
	r, end := l.find(c.p.Channel)
	if end.Code != relay.Done {
		c.answer(relay.Position{}, end)
		return
	}
	if r.class() == shard.Ephemeral {
		memory := r.memory.Load()
		if memory == nil {
			c.answer(relay.Position{}, r.moved("this node does not lead the channel's shard"))
		} else if err := memory.Publish(c.p, c.answer); err != nil {
			c.answer(relay.Position{}, relay.Refusal(err))
		}
		return
	}
	if l.readOnly.Load() {
		c.answer(relay.Position{}, relay.End{
			Code: relay.ReadOnly, RetryAfter: 5 * time.Second,
			Detail: "the disk of the channel's home is nearly full",
		})
		return
	}
	if v := r.view.Load(); v.Role != shard.Following && !r.begun() {
		c.answer(relay.Position{}, relay.End{
			Code: relay.Unavailable, RetryAfter: relay.BusyRetry,
			Detail: fmt.Sprintf("the first leader of shard %v is only beginning", r.id.Shard),
		})
		return
	}
	if err := h.Publish(r.id.Shard, c.p, c.answer); err != nil {
		c.answer(relay.Position{}, relay.Refusal(err))
	}
}

// stop ends every subscription and answers what waits.
func (l *Local) stop(empty []command) {
	for _, c := range l.queue.close(empty) {
		c.answer(relay.Position{}, relay.End{Code: relay.Unknown, Detail: stopping.Detail})
	}
	l.each(func(r *replica) {
		l.topics.mu.Lock()
		if r.ended == nil {
			r.ended = &stopping
		}
		l.topics.mu.Unlock()
	})
	l.topics.stop()
}

// refused is a subscription that only ends.
type refused struct{ end relay.End }

func (r *refused) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	if maxBytes <= 0 || r.end.Code == relay.Done {
		return dst
	}
	end := r.end
	r.end = relay.End{}
	return append(dst, relay.Frame{Kind: relay.KindEnd, End: &end})
}

func (*refused) Close() {}
