package core

import (
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// asked is a node as a router reaches it: it notes that it was asked.
type asked struct {
	relay.Upstream
	name  shard.Node
	log   *[]shard.Node
	down  bool
	moved string // where it says that the leader is
}

func (a *asked) Publish(_ relay.Publication, answer func(relay.Position, relay.End)) error {
	*a.log = append(*a.log, a.name)
	if a.down {
		return relay.ErrUnavailable
	}
	end := relay.End{}
	if a.moved != "" {
		end = relay.End{Code: relay.Moved, Hint: relay.Hint{Alternatives: []string{a.moved}}}
	}
	answer(relay.Position{Epoch: 1, Seq: 1}, end)
	return nil
}

// A node that has no replica, such as one that lost its disk, asks one voter after the other, and
// never itself.
func TestRouterFindsTheLeader(t *testing.T) {
	members := []Member{
		{Name: "a", Address: "a:1", Region: "r", Zone: "1"}, {Name: "b", Address: "b:1", Region: "r", Zone: "2"},
		{Name: "c", Address: "c:1", Region: "r", Zone: "3"},
	}
	spaces := map[relay.Namespace]Namespace{"demo": {Class: shard.Region, Home: "r"}}
	p, err := newPlan(members, groupsOf(spaces, 1), spaces)
	if err != nil {
		t.Fatal(err)
	}
	var log []shard.Node
	nodes := map[shard.Node]*asked{"b": {name: "b", log: &log, down: true}, "c": {name: "c", log: &log}}
	local := newLocal("a", nil, p, 1<<20, 10)
	router := newRouter(local, func(n shard.Node) relay.Upstream { return nodes[n] },
		func(shard.Node) relay.Region { return "r" }, "r")
	publish := func() error {
		var code relay.Code
		err := router.Publish(relay.Publication{Channel: "demo:x"}, func(_ relay.Position, end relay.End) { code = end.Code })
		return errors.Join(err, relay.End{Code: code}.Err())
	}
	for range 2 {
		err = publish()
	}
	if err != nil || len(log) != 2 || log[0] != "b" || log[1] != "c" {
		t.Fatalf("asked %v, %v; want b, which is down, then c", log, err)
	}
	// The leader moves to b, which is back.
	nodes["b"].down, nodes["c"].moved = false, "b"
	log = nil
	for range 3 {
		err = publish()
	}
	if err != nil || len(log) != 3 || log[0] != "c" || log[1] != "b" || log[2] != "b" {
		t.Fatalf("asked %v, %v; want c, which says b, and then b", log, err)
	}
}
