package core

import (
	"context"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

const (
	steadyFor   = 10 * time.Second // a node that is heard of for so long may lead
	awayFor     = 5 * time.Minute  // so long before a leader goes home to another region
	balanceLook = time.Second
	transferFor = 3 * time.Second
	moveFor     = time.Second            // for edges and nodes to open what they have here elsewhere
	tellFor     = 250 * time.Millisecond // for a beat to say that this node is not to lead
)

// drain takes the node out of service: the others learn that it is not to lead, its leaders are
// handed over, then edges and nodes are asked to go.
func (n *Node) drain() {
	n.draining.Store(true)
	if n.cfg.Grace <= 0 || n.network == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Grace)
	defer cancel()
	select {
	case <-time.After(tellFor): // or else they send leaders home to it while it ends
	case <-ctx.Done():
	}
	n.handOver(ctx)
	// Who was asked opens what it needs elsewhere at once; the old session stays until we close it.
	ctx, stop := context.WithTimeout(ctx, moveFor)
	defer stop()
	n.network.doors.leave(moveFor)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !n.network.doors.empty() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// handOver hands every leadership to a voter that is alive, as far as there is one; also one that
// was won and cannot serve yet, since it waits for this node's disk.
func (n *Node) handOver(ctx context.Context) {
	if n.network == nil {
		return
	}
	var led []shard.ID
	n.local.each(func(r *replica) {
		if r.won() {
			led = append(led, r.id.Shard)
		}
	})
	pending := 0
	done := make(chan error, len(led))
	for _, id := range led {
		s, ok := n.status(id)
		if !ok || s.Role == shard.Following || s.Descriptor == nil {
			continue
		}
		to, best := shard.Number(0), uint64(0)
		for _, p := range s.Members {
			m := s.Descriptor.Member(p.Number)
			if m != nil && m.Node != n.cfg.Name && m.Role == shard.Voter && p.Active && p.Match+1 > best && n.network.mayLead(m.Node) {
				to, best = p.Number, p.Match+1
			}
		}
		if to == 0 {
			continue
		}
		pending++
		n.inbox.ask(func(h *shard.Host) { h.Transfer(id, to, func(err error) { done <- err }) }, func() { done <- stopping.Err() })
	}
	handed := 0
	for range pending {
		select {
		case err := <-done:
			if err == nil {
				handed++
			}
		case <-ctx.Done():
			n.log.Warn("leaderships not all handed over in time", "handed", handed, "led", len(led))
			return
		}
	}
	if len(led) > 0 {
		n.log.Info("leaderships handed over", "handed", handed, "led", len(led))
	}
}

// unwell reports whether nothing is to be led here for now.
func (n *Node) unwell() bool { return n.draining.Load() || n.slowLately() }

// slowLately reports whether the disk hung a while ago: then nothing is to be led here.
func (n *Node) slowLately() bool {
	at := n.slowAt.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < n.cfg.SteadyFor
}

// slow hands leaderships away while the disk hangs: who leads has to sync.
func (n *Node) slow(d time.Duration) {
	n.log.Warn("a sync of the disk takes long; handing leaderships away", "since", d)
	n.slowAt.Store(time.Now().UnixNano())
	select {
	case n.hand <- struct{}{}:
	default:
	}
}

// balance leads shards where they are to be led: each second it hands those over whose place is
// elsewhere, and well. It also hands over what slow asks for.
func (n *Node) balance(ctx context.Context) error {
	look := time.NewTicker(balanceLook)
	defer look.Stop()
	failed := make(map[shard.ID]time.Time)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.hand:
			within, cancel := context.WithTimeout(ctx, transferFor)
			n.handOver(within)
			cancel()
		case <-look.C:
			if n.network != nil && !n.draining.Load() {
				n.sendHome(ctx, failed)
			}
		}
	}
}

// sendHome hands over what another node is to lead, one after the other. One that failed holds
// publishes up while it is tried, and waits as long as a node that was away; a disk that hangs
// meanwhile, or the end of this node, comes first.
func (n *Node) sendHome(ctx context.Context, failed map[shard.ID]time.Time) {
	plan := n.local.plan.Load()
	for i := range plan.shards {
		if len(n.hand) > 0 || n.draining.Load() {
			return
		}
		s := &plan.shards[i]
		r := n.local.replica(s.id)
		// What a leader of class ephemeral has in its memory would be lost.
		if r == nil || !r.leads() || r.class() == shard.Ephemeral || ctx.Err() != nil {
			continue
		}
		// Most are where they are to be, which is seen without asking the Host.
		if v := r.view.Load(); v == nil || n.placeElsewhere(v.Role, v.Descriptor, s.voters[0]) == nil {
			continue
		}
		if time.Since(failed[s.id]) < n.cfg.SteadyFor {
			continue
		}
		status, ok := n.status(s.id)
		if !ok {
			continue
		}
		m := n.placeElsewhere(status.Role, status.Descriptor, s.voters[0])
		if m == nil {
			continue
		}
		// One that is behind would hold publishes up until it has caught up.
		ready := slices.ContainsFunc(status.Members, func(p shard.Progress) bool {
			return p.Number == m.Number && p.Active && !p.Snapshot && p.Match+replaceNear >= status.Last
		})
		if ready {
			within, cancel := context.WithTimeout(ctx, transferFor)
			delete(failed, s.id)
			if err := n.transfer(within, s.id, m); err != nil {
				failed[s.id] = time.Now()
				n.log.Info("leader not sent home", "shard", s.id.String(), "home", m.Node, "err", err)
			}
			cancel()
		}
	}
}

// placeElsewhere returns the voter on another node, and a well one, that is to lead what is led
// here. nil: there is none.
func (n *Node) placeElsewhere(role shard.RoleOf, d *shard.Descriptor, home shard.Node) *shard.Member {
	if role != shard.Leading || d == nil {
		return nil
	}
	if m := n.placeOf(d, home); m != nil && m.Node != n.cfg.Name && n.wellHere(m.Node) {
		return m
	}
	return nil
}

// placeOf returns the voter that is to lead: the one that an operator prefers, and the home's while
// nothing is heard of that one. nil: it is no voter.
func (n *Node) placeOf(d *shard.Descriptor, home shard.Node) *shard.Member {
	if m := d.Member(d.Prefer); m != nil && m.Role == shard.Voter &&
		(m.Node == n.cfg.Name || n.network.wellFor(m.Node) > 0) {
		return m
	}
	if m := d.On(home); m != nil && m.Role == shard.Voter {
		return m
	}
	return nil
}

// wellHere reports whether another node has been well for long enough to be handed a leadership
// from here.
func (n *Node) wellHere(name shard.Node) bool {
	wait := n.cfg.SteadyFor
	if n.regionOf(name) != n.regionOf(n.cfg.Name) {
		wait = n.cfg.AwayFor
	}
	return n.network.wellFor(name) >= wait
}
