package core

import (
	"context"
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// tend does what a new leader owes its shard, as far as the configuration says what. It runs on
// the runner's goroutine. What the fleet's first leader says is applied before any publish is
// taken, see replica.begun; what a later one says, publishes that waited for it may precede.
func (r *runner) tend(p *replica) {
	plan := r.local.plan.Load()
	s := plan.of(p.id.Shard)
	if s == nil {
		return
	}
	if memory := p.memory.Load(); memory != nil {
		policies := make(map[relay.Namespace]channel.Policy)
		for _, name := range plan.names(s.group) {
			policies[name] = plan.namespaces[name].Policy
		}
		if err := memory.Define(policies); err != nil {
			r.log.Error("policies not changed", "shard", p.id.Shard.String(), "err", err)
		}
	}
	commands, err := r.owed(p, plan, s)
	if err != nil {
		r.fail(fmt.Errorf("tend %v: %w", p.id, err))
		return
	}
	if len(commands) == 0 {
		return
	}
	id := p.id
	r.host.Propose(id.Shard, commands, func(err error) {
		if err != nil {
			r.log.Warn("configuration not proposed; to be tried again", "shard", id.Shard.String(), "err", err)
			r.owing[p] = r.local.clock().Add(tendAgain)
		}
	})
	r.inbox.notify()
}

// tendAgain is how long after a leader could not do what it owes its shard it tries again: a shard
// takes nothing while it is full, or while its leadership is handed over.
const tendAgain = time.Second

// again tends shards whose leaders could not, and lead still.
func (r *runner) again(ctx context.Context) {
	for p, at := range r.owing {
		if r.local.clock().Before(at) {
			continue
		}
		delete(r.owing, p)
		if v := p.view.Load(); v.Role == shard.Leading && !v.Removed {
			if v.Descriptor.Class == shard.Ephemeral {
				r.remember(ctx, p, v)
			}
			r.tend(p)
		}
	}
}

// owed compares a state with the configuration.
func (r *runner) owed(p *replica, plan *plan, s *planned) (list []shard.Command, err error) {
	defer mend(&err)
	v := r.disk.Read(p.id, false)
	defer v.Close()
	first := channel.Floor(v) == 0
	if first {
		// Positions of an earlier fleet must not be taken for this one's.
		now := relay.Epoch(max(r.local.clock().UnixMilli(), 1))
		list = append(list, shard.Command{Raise: &shard.RaiseChange{Floor: now}})
	}
	if p.class() != shard.Ephemeral { // the policies of that one are its memory's
		for _, name := range plan.names(s.group) {
			policy := plan.namespaces[name].Policy
			defined, same := channel.Defined(v, name, policy)
			if !defined && !first {
				other, err := r.elsewhere(plan, s, name)
				if err != nil {
					return nil, err
				}
				if other != 0 {
					r.log.Error("namespace not taken up: another shard has it; give all nodes the same class and home for it",
						"namespace", name, "shard", s.id.String(), "owner", other.String())
					continue
				}
			}
			// The first leader says it all once: nodes that were begun with other files have
			// begun with other states.
			if !same || first {
				list = append(list, shard.Command{Policy: &shard.PolicyChange{Namespace: name, Policy: policy}})
			}
			if slots, ok := plan.owned(name, s.id); ok && (!defined || first) {
				list = append(list, shard.Command{Slots: &slots})
			}
		}
	}
	return list, v.Err()
}

// mend turns what the machine panics with, when a state is damaged, into an error.
func mend(err *error) {
	switch p := recover().(type) {
	case nil:
	case *channel.Damage:
		*err = p
	default:
		panic(p)
	}
}
