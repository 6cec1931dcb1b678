package core

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// publish repeats a numbered message until its outcome is known.
func publish(t *testing.T, u relay.Upstream, p relay.Publication) relay.Position {
	t.Helper()
	late := time.Now().Add(30 * time.Second)
	for {
		type outcome struct {
			at  relay.Position
			end relay.End
		}
		got := make(chan outcome, 1)
		err := u.Publish(p, func(at relay.Position, end relay.End) { got <- outcome{at, end} })
		if err == nil {
			o := <-got
			if o.end.Code == relay.Done {
				return o.at
			}
			if o.end.Code.Retry() == relay.Final {
				t.Fatalf("publish %d: %v %s", p.N, o.end.Code, o.end.Detail)
			}
			err = o.end.Err()
		}
		if time.Now().After(late) {
			t.Fatalf("publish %d: %v", p.N, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func numbered(ch relay.Channel, n int) relay.Publication {
	return relay.Publication{
		Channel: ch, Subject: "alice", Producer: relay.ProducerOf("alice", string(ch)), N: uint64(n),
		Body: relaytest.Body(fmt.Sprint(n), ""),
	}
}

// want reads a channel from its beginning.
func want(t *testing.T, u relay.Upstream, ch relay.Channel, n int) {
	t.Helper()
	r := relaytest.Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}, Barrier: true})
	r.Expect(relay.KindOK)
	for i, f := range r.Messages(n) {
		if got := string(relaytest.Decode(t, f.Body).Payload); got != fmt.Sprint(i+1) {
			t.Fatalf("message %d of %s is %s", i+1, ch, got)
		}
	}
}

// What was acknowledged is there after a restart, once, and its producer goes on.
func TestRestart(t *testing.T) {
	c := single(t)
	n, stop := start(t, c)
	await(t, n)
	at := make([]relay.Position, 50)
	for i := range at {
		at[i] = publish(t, n.Upstream(), numbered("test:restart", i+1))
	}
	stop()
	c.Bootstrap = false // it has data
	n, _ = start(t, c)
	await(t, n)
	for _, i := range []int{49, 0} {
		if again := publish(t, n.Upstream(), numbered("test:restart", i+1)); again != at[i] {
			t.Errorf("number %d stood at %v, and its repetition at %v", i+1, at[i], again)
		}
	}
	publish(t, n.Upstream(), numbered("test:restart", 51))
	want(t, n.Upstream(), "test:restart", 51)
}

// A folder is refused that is not what the node should have.
func TestFolders(t *testing.T) {
	c := single(t)
	c.Bootstrap = false
	if _, err := NewNode(c); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty folder: %v", err)
	}
	if list, _ := os.ReadDir(c.Dir); len(list) > 0 {
		t.Errorf("the refused folder has %v", list)
	}
	c.Bootstrap = true
	n, err := NewNode(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewNode(c); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a folder in use: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	other := c
	other.Fleet = "another"
	if _, err := NewNode(other); !errors.Is(err, store.ErrFleet) {
		t.Errorf("another fleet's: %v", err)
	}
	// Its beginning was not finished: it may not go on as if it were.
	c.Bootstrap = false
	if _, err := NewNode(c); !errors.Is(err, ErrEmpty) {
		t.Errorf("a beginning cut short: %v", err)
	}
	// Nor is a store that lost its name an empty folder.
	if err := os.Remove(filepath.Join(c.Dir, "IDENTITY")); err != nil {
		t.Fatal(err)
	}
	for _, c.Bootstrap = range []bool{false, true} {
		if _, err := NewNode(c); !errors.Is(err, store.ErrForeign) {
			t.Errorf("a folder without IDENTITY (bootstrap %t): %v", c.Bootstrap, err)
		}
	}
}

// Other policies come into force while the node runs, and namespaces come.
func TestReload(t *testing.T) {
	c := single(t)
	n, _ := start(t, c)
	await(t, n)
	err := n.Reload(map[relay.Namespace]Namespace{
		relaytest.Plain: {Policy: channel.Policy{Payload: 10}}, relaytest.Short: {}, "later": {},
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, n.Local(), numbered("later:x", 1))
	big := relay.Publication{Channel: "test:big", Body: relaytest.Body("more than ten bytes", "")}
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if o := relaytest.Publish(t, n.Local(), big); o.End.Code == relay.TooLarge {
			break
		}
		if time.Now().After(late) {
			t.Fatal("the new policy is not in force")
		}
	}
	if err := n.Reload(map[relay.Namespace]Namespace{"g": {Class: shard.Global}}); err == nil {
		t.Error("there are no shards of class global")
	}
}

// A namespace keeps its class: shards of two classes would own the same channels.
func TestReloadKeepsClasses(t *testing.T) {
	c := single(t)
	c.Namespaces["g"] = Namespace{Class: shard.Global}
	n, stop := start(t, c)
	await(t, n)
	other := maps.Clone(c.Namespaces)
	other["g"] = Namespace{}
	if err := n.Reload(other); err == nil {
		t.Error("reloaded as another class")
	}
	stop()
	c.Namespaces = other
	if again, err := NewNode(c); err == nil {
		t.Error("started as another class")
		again.Close()
	}
}

// A leader's node goes: what was acknowledged is there, and publishing goes on. Then it comes
// back, and then all restart.
func TestNodeGoesAndComes(t *testing.T) {
	t.Parallel() // it waits more than it works
	list := trio(t)
	nodes, stops := startAll(t, list)
	chs := []relay.Channel{"test:a", "test:b", "test:c", "test:d"}
	round := func(u relay.Upstream, from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			for _, ch := range chs {
				publish(t, u, numbered(ch, i))
			}
		}
	}
	round(nodes[1].Upstream(), 1, 10)
	stops[0]()
	round(nodes[1].Upstream(), 11, 20)
	for _, ch := range chs {
		want(t, nodes[2].Upstream(), ch, 20)
	}
	for i := range list {
		stops[i]()
		list[i].Bootstrap = false
		list[i].PacketConn = listen(t, list[i].Nodes[i].Address)
	}
	nodes, _ = startAll(t, list)
	round(nodes[0].Upstream(), 20, 22) // 20: repeated
	for _, n := range nodes {
		for _, ch := range chs {
			want(t, n.Upstream(), ch, 22)
		}
	}
}

// An ephemeral channel is gone with its leader, and a Gap says so.
func TestEphemeral(t *testing.T) {
	t.Parallel() // it waits more than it works
	list := trio(t)
	nodes, stops := startAll(t, list)
	ch := relay.Channel("fleeting:x")
	id := nodes[0].local.plan.Load().owner(ch)
	leader, ok := nodes[0].local.replica(id).leader()
	if !ok {
		t.Fatal("no leader")
	}
	var other *Node
	for i := range nodes {
		if list[i].Name != leader {
			other = nodes[i]
		}
	}
	first := publish(t, other.Upstream(), numbered(ch, 1))
	r := relaytest.Subscribe(t, other.Upstream(), relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}})
	r.Expect(relay.KindOK)
	r.Messages(1)
	for i := range nodes {
		if list[i].Name == leader {
			stops[i]()
		}
	}
	p := relay.Publication{Channel: ch, Body: relaytest.Body("2", "")}
	second := publish(t, other.Upstream(), p)
	if second.Epoch <= first.Epoch || second.Seq == 0 {
		t.Errorf("%v follows %v, though what was before is gone", second, first)
	}
	for {
		f := r.Frame()
		if f.Kind == relay.KindStatus {
			continue
		}
		if f.Kind != relay.KindGap || f.Reason != relay.GapEpoch {
			t.Fatalf("%s, want a Gap", relaytest.Describe(f))
		}
		break
	}
}

// A disk that was lost does not come back as what it was: its node waits to be taken in.
func TestReplace(t *testing.T) {
	t.Parallel() // it waits more than it works
	list := trio(t)
	nodes, stops := startAll(t, list)
	for i := 1; i <= 20; i++ {
		publish(t, nodes[1].Upstream(), numbered("test:a", i))
	}
	old := nodes[0].Store()
	stops[0]()
	c := list[0]
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Clean(c.Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Bootstrap, c.Join = false, true
	c.PacketConn = listen(t, c.Nodes[0].Address)
	fresh, _ := start(t, c)
	late := time.Now().Add(60 * time.Second)
	for {
		left := 0
		for _, n := range nodes[1:] {
			if _, err := n.Replace("n1"); err != nil {
				t.Fatal(err)
			}
			n.local.each(func(r *replica) {
				if m := r.view.Load().Descriptor.On("n1"); m == nil || m.Store == old {
					left++
				}
			})
		}
		if left == 0 {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("%d members have the old disk", left)
		}
		time.Sleep(100 * time.Millisecond)
	}
	await(t, fresh)
	want(t, fresh.Upstream(), "test:a", 20)
	publish(t, fresh.Upstream(), numbered("test:a", 21))
}
