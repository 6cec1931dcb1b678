// Package nodeapitest has a node that is told what to answer.
package nodeapitest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

var _ nodeapi.Node = (*Node)(nil)

// A Node answers from lists. Safe for concurrent use once its fields are set.
type Node struct {
	Name     shard.Node
	Replicas []nodeapi.Shard   // in order
	Kept     []nodeapi.Channel // in order
	Err      error             // of every question, if set
	// Steps are what Replace says of its shard, one call after the other; the last one stays.
	Steps []string

	mu       sync.Mutex
	asked    int
	replaced int
}

// Asked returns how many questions came.
func (n *Node) Asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *Node) ask() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.Err
}

// Shards implements nodeapi.Node.
func (n *Node) Shards(after shard.ID, limit int) ([]nodeapi.Shard, error) {
	var list []nodeapi.Shard
	for _, s := range n.Replicas {
		if id, _ := shard.ParseID(s.Shard); id > after && len(list) < limit {
			list = append(list, s)
		}
	}
	return list, n.ask()
}

// Shard implements nodeapi.Node.
func (n *Node) Shard(id shard.ID) (nodeapi.Shard, error) {
	err := n.ask()
	for _, s := range n.Replicas {
		if s.Shard == id.String() {
			return s, err
		}
	}
	return nodeapi.Shard{}, cmp.Or(err, fmt.Errorf("shard %v: %w on node %s", id, nodeapi.ErrNotFound, n.Name))
}

// Channels implements nodeapi.Node.
func (n *Node) Channels(prefix string, after relay.Channel, limit int) ([]nodeapi.Channel, error) {
	var list []nodeapi.Channel
	for _, c := range n.Kept {
		if strings.HasPrefix(string(c.Channel), prefix) && c.Channel > after && len(list) < limit {
			list = append(list, c)
		}
	}
	return list, n.ask()
}

// Channel implements nodeapi.Node.
func (n *Node) Channel(name relay.Channel) (nodeapi.Channel, error) {
	err := n.ask()
	for _, c := range n.Kept {
		if c.Channel == name {
			return c, err
		}
	}
	return nodeapi.Channel{}, cmp.Or(err, fmt.Errorf("channel %s: %w on node %s", name, nodeapi.ErrNotFound, n.Name))
}

// Transfer implements nodeapi.Node: the leader is another one then, as this node sees it.
func (n *Node) Transfer(_ context.Context, id shard.ID, to shard.Node) error {
	if err := n.ask(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.Replicas, func(s nodeapi.Shard) bool { return s.Shard == id.String() })
	switch {
	case i < 0:
		return fmt.Errorf("shard %v: %w on node %s", id, nodeapi.ErrNotFound, n.Name)
	case n.Replicas[i].State != "leading":
		return fmt.Errorf("node %s %w shard %v", n.Name, nodeapi.ErrNotLeader, id)
	case !slices.ContainsFunc(n.Replicas[i].Members, func(m nodeapi.Member) bool { return m.Node == to && m.Role == "voter" }):
		return fmt.Errorf("shard %v has no voter on node %q: %w", id, to, nodeapi.ErrConflict)
	}
	n.Replicas[i].State, n.Replicas[i].Leader = "following", to
	return nil
}

// Replace implements nodeapi.Node.
func (n *Node) Replace(node shard.Node) ([]nodeapi.Replacement, error) {
	if err := n.ask(); err != nil {
		return nil, err
	}
	if len(n.Steps) == 0 {
		return nil, fmt.Errorf("node %q: %w", node, nodeapi.ErrNotFound)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	step := n.Steps[min(n.replaced, len(n.Steps)-1)]
	n.replaced++
	return []nodeapi.Replacement{{Shard: n.Replicas[0].Shard, Old: 2, New: 4, Step: step}}, nil
}
