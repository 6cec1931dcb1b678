package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
)

// A shardView is a shard as all nodes together tell it.
type shardView struct {
	Shard    string          `json:"shard"`
	Class    string          `json:"class"`
	Leader   shard.Node      `json:"leader,omitempty"`
	Term     uint64          `json:"term"`
	Commit   uint64          `json:"commit"`
	Lag      *uint64         `json:"lag,omitempty"` // of the member that is furthest behind; absent: no leader answered
	Faults   []string        `json:"faults,omitempty"`
	Replicas []nodeapi.Shard `json:"replicas"` // what each node said

	id     shard.ID
	leader *nodeapi.Shard // the leader's answer; nil: it did not answer
}

// views asks all nodes and puts together what they say, in order of the shards.
func (n *nodes) views(ctx context.Context) ([]shardView, error) {
	answers, err := ask(ctx, n, func(ctx context.Context, c *nodeapi.Client) ([]nodeapi.Shard, error) {
		_, list, err := c.Shards(ctx)
		return list, err
	})
	if err != nil {
		return nil, err
	}
	by := make(map[string][]nodeapi.Shard)
	for _, answer := range answers {
		if answer != nil {
			for _, s := range *answer {
				by[s.Shard] = append(by[s.Shard], s)
			}
		}
	}
	views := make([]shardView, 0, len(by))
	for _, replicas := range by {
		views = append(views, viewOf(replicas))
	}
	slices.SortFunc(views, func(a, b shardView) int { return cmp.Compare(a.id, b.id) })
	return views, nil
}

// view asks all nodes about one shard.
func (n *nodes) view(ctx context.Context, id shard.ID) (shardView, error) {
	answers, err := ask(ctx, n, func(ctx context.Context, c *nodeapi.Client) (nodeapi.Shard, error) { return c.Shard(ctx, id) })
	if err != nil {
		return shardView{}, err
	}
	var replicas []nodeapi.Shard
	for _, answer := range answers {
		if answer != nil {
			replicas = append(replicas, *answer)
		}
	}
	return viewOf(replicas), nil
}

// viewOf puts together what nodes say of one shard. The newest leader knows best; without one,
// whoever is of the newest term.
func viewOf(replicas []nodeapi.Shard) shardView {
	slices.SortFunc(replicas, func(a, b nodeapi.Shard) int { return cmp.Compare(a.Node, b.Node) })
	best := &replicas[0]
	for i := range replicas {
		r := &replicas[i]
		if cmp.Or(cmp.Compare(r.Term, best.Term), compareBool(r.State == leading, best.State == leading), cmp.Compare(r.Commit, best.Commit)) > 0 {
			best = r
		}
	}
	v := shardView{
		Shard: best.Shard, Class: best.Class, Leader: best.Leader, Term: best.Term,
		Commit: best.Commit, Faults: best.Faults, Replicas: replicas,
	}
	v.id, _ = shard.ParseID(best.Shard)
	if best.State != leading {
		return v
	}
	v.leader, v.Leader = best, best.Node
	lag := uint64(0)
	for _, m := range best.Members {
		if m.Progress != nil {
			lag = max(lag, m.Progress.Lag)
		}
	}
	v.Lag = &lag
	return v
}

const leading = "leading"

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// members returns the members as the best informed replica knows them.
func (v *shardView) members() []nodeapi.Member {
	if v.leader != nil {
		return v.leader.Members
	}
	var newest *nodeapi.Shard
	for i := range v.Replicas {
		if r := &v.Replicas[i]; newest == nil || r.Applied > newest.Applied {
			newest = r
		}
	}
	return newest.Members
}

// on returns what a node said; nil: nothing.
func (v *shardView) on(node shard.Node) *nodeapi.Shard {
	for i := range v.Replicas {
		if v.Replicas[i].Node == node {
			return &v.Replicas[i]
		}
	}
	return nil
}

// summary names the members: "n1 n2 n3 +n4", learners with a +.
func summary(members []nodeapi.Member) string {
	var list []string
	for _, m := range members {
		name := string(m.Node)
		if m.Role == shard.Learner.String() {
			name = "+" + name
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// orDash is v, or - for what is not known.
func orDash[T any](v *T) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprint(*v)
}

func dashed(s string) string { return cmp.Or(s, "-") }

func number[T ~uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }
