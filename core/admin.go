package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

var _ nodeapi.Node = (*Node)(nil)

// status asks the Host about a replica.
func (n *Node) status(id shard.ID) (s shard.Status, ok bool) {
	done := make(chan struct{})
	n.inbox.ask(func(h *shard.Host) {
		if s, ok = h.Status(id); ok && s.Descriptor != nil {
			d := *s.Descriptor
			s.Descriptor = &d
		}
		close(done)
	}, func() { close(done) })
	<-done
	return s, ok
}

// Shards implements nodeapi.Node.
func (n *Node) Shards(after shard.ID, limit int) ([]nodeapi.Shard, error) {
	var list []nodeapi.Shard
	var ids []shard.ID
	n.local.each(func(r *replica) {
		if r.id.Shard > after && len(ids) < limit {
			ids = append(ids, r.id.Shard)
		}
	})
	for _, id := range ids {
		s, err := n.Shard(id)
		if errors.Is(err, nodeapi.ErrNotFound) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// Shard implements nodeapi.Node.
func (n *Node) Shard(id shard.ID) (nodeapi.Shard, error) {
	s, ok := n.status(id)
	if !ok {
		return nodeapi.Shard{}, fmt.Errorf("shard %v: %w on node %q; another one may have it", id, nodeapi.ErrNotFound, n.cfg.Name)
	}
	x := nodeapi.Shard{
		Shard: id.String(), Node: n.cfg.Name, Number: s.Replica.Number, State: stateOf(s.Role),
		Term: s.Term, Commit: s.Commit, Applied: s.Applied, LogBytes: s.LogBytes, Resting: s.Resting,
	}
	d := s.Descriptor
	if d == nil {
		x.Faults = []string{"this replica has no state yet; it waits for one from its leader"}
		return x, nil
	}
	x.Class, x.Incarnation, x.Version = d.Class.String(), d.Incarnation, d.Version
	for _, m := range d.Members {
		if m.Number == s.Leader {
			x.Leader = m.Node
		}
		if m.Number == d.Prefer {
			x.Prefer = m.Node
		}
		if m.Number == s.Replica.Number {
			x.Role = m.Role.String()
		}
		member := nodeapi.Member{Number: m.Number, Node: m.Node, Store: m.Store.String(), Role: m.Role.String()}
		if i := slices.IndexFunc(s.Members, func(p shard.Progress) bool { return p.Number == m.Number }); i >= 0 {
			p := s.Members[i]
			member.Progress = &nodeapi.Progress{
				Match: p.Match, Lag: s.Last - min(s.Last, p.Match), Active: p.Active, Snapshot: p.Snapshot,
			}
		}
		x.Members = append(x.Members, member)
	}
	x.Faults = n.faults(d)
	var err error
	x.Owns, err = n.owns(s.Replica)
	owns := make(map[relay.Namespace]int)
	for _, o := range x.Owns {
		owns[o.Namespace] = o.Slots
	}
	strange := n.local.plan.Load().strangers(id, owns)
	slices.Sort(strange)
	x.Faults = append(x.Faults, strange...)
	return x, err
}

func stateOf(r shard.RoleOf) string {
	return [...]string{"following", "elected", "leading"}[min(r, shard.Leading)]
}

// owns reads what a replica's state owns of the namespaces.
func (n *Node) owns(r shard.Replica) (list []nodeapi.Slots, err error) {
	defer mend(&err)
	v := n.store.Read(r, false)
	defer v.Close()
	for ns, owned := range channel.Owns(v) {
		list = append(list, nodeapi.Slots{Namespace: ns, Slots: owned.Slots, Pins: owned.Pins})
	}
	slices.SortFunc(list, func(a, b nodeapi.Slots) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return list, v.Err()
}

// faults says what a membership lacks for its class.
func (n *Node) faults(d *shard.Descriptor) []string {
	var list []string
	zones, regions := make(map[string]int), make(map[relay.Region]bool)
	voters := 0
	for _, m := range d.Members {
		if m.Role == shard.Learner || m.Role == shard.Outgoing {
			continue
		}
		voters++
		for _, at := range n.cfg.Nodes {
			if at.Name == m.Node {
				zones[string(at.Region)+"/"+at.Zone]++
				regions[at.Region] = true
			}
		}
	}
	if voters < 3 {
		list = append(list, fmt.Sprintf("%d of 3 voters: nothing is lost with a node only if there are three", voters))
	} else if d.Class == shard.Global && len(regions) < 3 {
		list = append(list, fmt.Sprintf("voters in %d of 3 regions: the loss of a region may stop it", len(regions)))
	} else if len(zones) < 3 && d.Class != shard.Global {
		list = append(list, fmt.Sprintf("voters in %d of 3 zones: the loss of a zone may stop it", len(zones)))
	}
	return list
}

// Channels implements nodeapi.Node.
func (n *Node) Channels(prefix string, after relay.Channel, limit int) (list []nodeapi.Channel, err error) {
	first := func() {
		slices.SortFunc(list, func(a, b nodeapi.Channel) int { return cmp.Compare(a.Channel, b.Channel) })
		list = list[:min(len(list), limit)]
	}
	n.local.each(func(r *replica) {
		if err == nil {
			err = n.inState(r, func(v channel.Reader) {
				found := 0
				for i := range channel.List(v, prefix, after) {
					if found == limit {
						break
					}
					list, found = append(list, n.channel(r, i)), found+1
				}
			})
			if len(list) > 4*limit { // each replica may have as many
				first()
			}
		}
	})
	first()
	return list, err
}

// inState calls f with what a replica has of channels: its state, or its memory.
func (n *Node) inState(r *replica, f func(channel.Reader)) (err error) {
	defer mend(&err)
	if memory := r.memory.Load(); memory != nil {
		v := memory.read()
		defer v.Close()
		f(v)
		return nil
	}
	v := r.read()
	defer v.Close()
	f(v)
	if err := v.Err(); !errors.Is(err, shard.ErrNoReplica) {
		return err
	}
	return nil
}

func (n *Node) channel(r *replica, i channel.Info) nodeapi.Channel {
	x := nodeapi.Channel{
		Channel: i.Channel, Shard: r.id.Shard.String(), Class: r.class().String(), Node: n.cfg.Name,
		Position: nodeapi.Position(i.At), First: nodeapi.Position(i.First), Messages: i.Count, Bytes: i.Bytes,
		Used: i.Used.UTC().Format(time.RFC3339),
	}
	if v := r.view.Load(); v != nil {
		x.State = stateOf(v.Role)
	}
	x.Leader, _ = r.leader()
	return x
}

// Channel implements nodeapi.Node.
func (n *Node) Channel(name relay.Channel) (x nodeapi.Channel, err error) {
	missing := fmt.Errorf("channel %q: %w on node %q; another one may have it", name, nodeapi.ErrNotFound, n.cfg.Name)
	r, end := n.local.find(name)
	if end.Code != relay.Done {
		return x, missing
	}
	found := false
	err = n.inState(r, func(v channel.Reader) {
		var i channel.Info
		if i, found = channel.Inspect(v, name); found {
			x = n.channel(r, i)
		}
	})
	if err == nil && !found {
		err = missing
	}
	return x, err
}

// Transfer implements nodeapi.Node. The wish is put into the log before, so that it lasts.
func (n *Node) Transfer(ctx context.Context, id shard.ID, to shard.Node) error {
	s, ok := n.status(id)
	switch {
	case !ok || s.Descriptor == nil:
		return fmt.Errorf("shard %v: %w on node %q; ask its leader", id, nodeapi.ErrNotFound, n.cfg.Name)
	case s.Role != shard.Leading:
		leader := "nobody that is known"
		if m := s.Descriptor.Member(s.Leader); m != nil {
			leader = string(m.Node)
		}
		return fmt.Errorf("shard %v: node %q %w; %s does", id, n.cfg.Name, nodeapi.ErrNotLeader, leader)
	}
	m := s.Descriptor.On(to)
	if m == nil || m.Role != shard.Voter {
		return fmt.Errorf("shard %v: %w: node %q has no voter of it", id, nodeapi.ErrConflict, to)
	}
	if s.Descriptor.Prefer != m.Number {
		wish := []shard.Command{{Prefer: &shard.PreferChange{Member: m.Number}}}
		err := n.runner.await(ctx, func(h *shard.Host, done func(error)) { h.Propose(id, wish, done) })
		if err != nil {
			return fmt.Errorf("shard %v to node %q: %w: %w; it is repeated by calling again", id, to, nodeapi.ErrUnavailable, err)
		}
	}
	return n.transfer(ctx, id, m)
}

// transfer hands a leadership over, for now.
func (n *Node) transfer(ctx context.Context, id shard.ID, to *shard.Member) error {
	err := n.runner.await(ctx, func(h *shard.Host, done func(error)) { h.Transfer(id, to.Number, done) })
	if err != nil {
		return fmt.Errorf("shard %v to node %q: %w: %w; it is repeated by calling again", id, to.Node, nodeapi.ErrUnavailable, err)
	}
	return nil
}
