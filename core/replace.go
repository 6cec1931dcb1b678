package core

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
)

const (
	replaceLook   = 200 * time.Millisecond // between looks at a member that catches up
	replaceWithin = 30 * time.Minute       // for one shard
	replaceNear   = 64                     // entries behind the leader's last: near enough to vote
)

// replacements are what Replace has begun. Safe for concurrent use.
type replacements struct {
	mu     sync.Mutex
	of     map[shard.Node][]nodeapi.Replacement // by shard
	active map[shard.Node]bool
	ctx    context.Context // of Run; nil: not running
	group  sync.WaitGroup
}

func (p *replacements) set(node shard.Node, r nodeapi.Replacement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.of[node]
	if i := slices.IndexFunc(list, func(o nodeapi.Replacement) bool { return o.Shard == r.Shard }); i >= 0 {
		list[i] = r
		return
	}
	p.of[node] = append(list, r)
}

// Replace implements nodeapi.Node.
func (n *Node) Replace(node shard.Node) ([]nodeapi.Replacement, error) {
	var ids []shard.ID
	known := false
	n.local.each(func(r *replica) {
		v := r.view.Load()
		if v == nil || v.Descriptor == nil || v.Descriptor.On(node) == nil {
			return
		}
		if known = true; v.Role == shard.Leading {
			ids = append(ids, r.id.Shard)
		}
	})
	if !known {
		return nil, fmt.Errorf("node %q: %w in any shard of node %q", node, nodeapi.ErrNotFound, n.cfg.Name)
	}
	p := &n.replacing
	if list, ok := p.told(node); ok {
		return list, nil
	}
	// Nothing runs: what there is to do is looked at now, so that who asks learns all of it.
	var todo []shard.ID
	var list []nodeapi.Replacement
	for _, id := range ids {
		at := nodeapi.Replacement{Shard: id.String(), Step: "waiting"}
		if s, ok := n.status(id); ok && s.Descriptor != nil && s.Role == shard.Leading {
			store, met := n.storeOf(node)
			if old, fresh := membersOn(s.Descriptor, node, store); met && old == nil && active(&s, fresh) {
				at.Step, at.New = nodeapi.StepDone, fresh.Number
			}
		}
		if at.Step != nodeapi.StepDone {
			todo = append(todo, id)
		}
		list = append(list, at)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx := p.ctx; len(todo) > 0 && ctx != nil && !p.active[node] {
		p.active[node] = true
		p.of[node] = list
		p.group.Go(func() {
			for _, id := range todo {
				n.replaceIn(ctx, node, id)
			}
			p.mu.Lock()
			p.active[node] = false
			p.mu.Unlock()
		})
	}
	return slices.Clone(list), nil
}

// told returns how far a run is, or, once, how the last one failed.
func (p *replacements) told(node shard.Node) ([]nodeapi.Replacement, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.Clone(p.of[node])
	if p.active[node] {
		return list, true
	}
	p.of[node] = nil
	return list, slices.ContainsFunc(list, func(r nodeapi.Replacement) bool { return r.Step == nodeapi.StepFailed })
}

// membersOn returns a node's members with another store and with this one; nil: none.
func membersOn(d *shard.Descriptor, node shard.Node, store shard.StoreID) (old, fresh *shard.Member) {
	for i := range d.Members {
		switch m := &d.Members[i]; {
		case m.Node != node:
		case m.Store == store:
			fresh = m
		default:
			old = m
		}
	}
	return old, fresh
}

// active reports whether a leader heard of a member lately.
func active(s *shard.Status, m *shard.Member) bool {
	return m != nil && slices.ContainsFunc(s.Members, func(p shard.Progress) bool { return p.Number == m.Number && p.Active })
}

// replaceIn gives a node its replica of one shard back. Every step looks at what is there, so
// that it can be begun anew anywhere.
func (n *Node) replaceIn(ctx context.Context, node shard.Node, id shard.ID) {
	ctx, cancel := context.WithTimeout(ctx, replaceWithin)
	defer cancel()
	at := nodeapi.Replacement{Shard: id.String(), Step: "waiting"}
	n.replacing.set(node, at)
	for {
		again, err := n.replaceStep(ctx, node, id, &at)
		if err != nil {
			at.Step, at.Error = nodeapi.StepFailed, err.Error()
		}
		n.replacing.set(node, at)
		if err != nil || !again {
			return
		}
		select {
		case <-ctx.Done():
			at.Step, at.Error = nodeapi.StepFailed, fmt.Sprintf("%s did not end within %v", at.Step, replaceWithin)
			n.replacing.set(node, at)
			return
		case <-time.After(replaceLook):
		}
	}
}

// replaceStep does the next step; again: there are more.
func (n *Node) replaceStep(ctx context.Context, node shard.Node, id shard.ID, at *nodeapi.Replacement) (again bool, err error) {
	s, ok := n.status(id)
	if !ok || s.Descriptor == nil || s.Role != shard.Leading {
		return false, fmt.Errorf("node %q does not lead shard %v any more; ask its leader's node", n.cfg.Name, id)
	}
	store, ok := n.storeOf(node)
	if !ok {
		at.Step = "waiting"
		return true, nil
	}
	d := s.Descriptor
	if d.Joint {
		return true, nil
	}
	old, fresh := membersOn(d, node, store)
	switch {
	case old == nil && !active(&s, fresh):
		at.Step = "waiting" // it may come with a new disk yet
		return true, nil
	case old == nil:
		at.Step, at.New = nodeapi.StepDone, fresh.Number
		return false, nil
	case fresh == nil:
		at.Step, at.Old = "adding", old.Number
		return true, n.change(ctx, id, d.Members, shard.MemberChange{Node: node, Store: store, Role: shard.Learner})
	}
	at.Old, at.New = old.Number, fresh.Number
	i := slices.IndexFunc(s.Members, func(p shard.Progress) bool { return p.Number == fresh.Number })
	if i < 0 || !s.Members[i].Active || s.Members[i].Snapshot || s.Members[i].Match+replaceNear < s.Last {
		at.Step = "catching-up"
		return true, nil
	}
	// The new one gets its vote and the old one loses it at once, so that there is no moment
	// with a voter more or less.
	at.Step = "promoting"
	remove := shard.MemberChange{Number: old.Number}
	if old.Role == shard.Learner {
		at.Step = "removing"
		return true, n.change(ctx, id, d.Members, remove)
	}
	return true, n.change(ctx, id, d.Members, shard.MemberChange{Number: fresh.Number, Role: shard.Voter}, remove)
}

func (n *Node) change(ctx context.Context, id shard.ID, expect []shard.Member, changes ...shard.MemberChange) error {
	expect = slices.Clone(expect)
	return n.runner.await(ctx, func(h *shard.Host, done func(error)) { h.Change(id, expect, changes, done) })
}

// storeOf returns the store that a node came with last.
func (n *Node) storeOf(node shard.Node) (shard.StoreID, bool) {
	if n.network == nil {
		return shard.StoreID{}, false
	}
	if id, ok := n.network.comer(node); ok {
		return id, true
	}
	return n.notes.store(node)
}

// run lets Replace begin, until ctx ends.
func (p *replacements) run(ctx context.Context) error {
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.ctx = nil // nothing begins any more
	p.mu.Unlock()
	p.group.Wait()
	return nil
}
