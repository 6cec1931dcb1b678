package core

import (
	"context"
	"fmt"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// reign is how far the floor of an ephemeral shard is raised for a new leader: as many channels
// may be forgotten under one leader, each of which takes an epoch, and more than 500 million
// leaders may follow one another.
const reign = 1 << 24

// memoryOfAll bounds the memories of a node together, in bytes: it may lead all ephemeral shards.
const memoryOfAll = 4 << 30

// ephemeral is how many shards keep messages in memory; at least 1.
func (p *plan) ephemeral() int {
	n := 0
	for i := range p.shards {
		if p.groups[p.shards[i].group].Class == shard.Ephemeral {
			n++
		}
	}
	return max(n, 1)
}

// remember begins or ends the memory of an ephemeral shard: it lives as long as its leader leads.
// What an earlier leader sequenced is gone, so the floor is raised first, through the log: then
// no epoch is ever used by two leaders. Runner only.
func (r *runner) remember(ctx context.Context, p *replica, e *shard.Event) {
	if e.Role != shard.Leading || e.Removed {
		p.forget()
		return
	}
	if p.stopMemory != nil || p.raising {
		return
	}
	floor, err := r.floor(p)
	if err != nil {
		r.fail(fmt.Errorf("read %v: %w", p.id, err))
		return
	}
	p.raising = true
	term := e.Term
	raise := shard.Command{Raise: &shard.RaiseChange{Floor: floor + reign, Broken: true}}
	r.host.Propose(p.id.Shard, []shard.Command{raise}, func(err error) {
		p.raising = false
		v := p.view.Load()
		switch {
		case err != nil && v.Term == term && v.Role == shard.Leading:
			r.log.Warn("ephemeral shard not begun; to be tried again", "shard", p.id.Shard.String(), "err", err)
			r.owing[p] = r.local.clock().Add(tendAgain)
		case err != nil || v.Term != term || v.Role != shard.Leading:
			r.log.Info("ephemeral shard has another leader", "shard", p.id.Shard.String(), "err", err)
		default:
			r.serveMemory(ctx, p, floor+reign)
		}
	})
	r.inbox.notify()
}

func (r *runner) floor(p *replica) (floor relay.Epoch, err error) {
	defer mend(&err)
	v := r.disk.Read(p.id, false)
	defer v.Close()
	// The first floor is the clock's: see tend.
	floor = max(channel.Floor(v), relay.Epoch(max(r.local.clock().UnixMilli(), 1)))
	return floor, v.Err()
}

func (r *runner) serveMemory(ctx context.Context, p *replica, floor relay.Epoch) {
	plan := r.local.plan.Load()
	cfg := BareConfig{Floor: floor, Now: r.local.clock, Log: r.log, Memory: memoryOfAll / int64(plan.ephemeral()),
		Subscriptions: r.local.topics.most, Namespaces: make(map[relay.Namespace]channel.Policy)}
	if s := plan.of(p.id.Shard); s != nil {
		for _, name := range plan.names(s.group) {
			cfg.Namespaces[name] = plan.namespaces[name].Policy
		}
	}
	home, err := NewBare(cfg)
	if err != nil {
		r.log.Error("ephemeral shard not served", "shard", p.id.Shard.String(), "err", err)
		return
	}
	ctx, stop := context.WithCancel(ctx)
	p.stopMemory = stop
	p.memory.Store(home)
	r.group.Go(func() { _ = home.Run(ctx) }) // ends with ctx alone
}

// forget ends a replica's memory: its subscriptions look for the next leader.
func (p *replica) forget() {
	if p.stopMemory != nil {
		p.memory.Store(nil)
		p.stopMemory()
		p.stopMemory = nil
	}
}
