package shard_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/shard/shardtest"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A drive is hosts that are driven by hand: everything happens at once and in order, unless a
// test holds it back.
type drive struct {
	t     testing.TB
	now   time.Time
	nodes []*driven
	// drop says which messages are lost; nil: none.
	drop func(from, to shard.Node, m shard.Message) bool
	// lag keeps writes of a node from becoming durable.
	lag map[shard.Node]bool
	// silent nodes do not run what is handed to their Applies.
	silent map[shard.Node]bool
	sent   int
	writes int
	bulk   int
	events []shard.Event
}

// A driven is one node.
type driven struct {
	d       *drive
	name    shard.Node
	store   *shardtest.Store
	host    *shard.Host
	machine *shard.Machine
	tweak   func(*shard.HostConfig)
	frozen  map[uint64]shard.Frozen
	names   uint64
	held    []*shard.Write
	applies []*shard.Apply
	fetches []*shard.Fetch
	hold    bool // fetches are kept for the test
	inbox   []letter
	upkeeps int
}

type letter struct {
	from shard.Node
	m    shard.Message
}

func newDrive(t testing.TB, nodes ...shard.Node) *drive {
	d := &drive{t: t, now: time.UnixMilli(1_800_000_000_000), lag: map[shard.Node]bool{}, silent: map[shard.Node]bool{}}
	for _, name := range nodes {
		n := &driven{d: d, name: name, store: shardtest.New(), machine: shard.NewMachine()}
		d.nodes = append(d.nodes, n)
		n.start()
	}
	for _, n := range d.nodes {
		for _, o := range d.nodes {
			n.host.Heard(o.name)
		}
	}
	return d
}

func (n *driven) start() {
	n.d.t.Helper()
	n.frozen, n.held, n.applies, n.inbox, n.fetches = map[uint64]shard.Frozen{}, nil, nil, nil, nil
	cfg := shard.HostConfig{
		Node: n.name, Log: n.store, States: n.store,
		Now: func() time.Time { return n.d.now },
		Freeze: func(r shard.Replica) (uint64, shard.Place, shard.Descriptor, error) {
			f, err := n.store.Freeze(r)
			if err != nil {
				return 0, shard.Place{}, shard.Descriptor{}, err
			}
			n.names++
			n.frozen[n.names] = f
			return n.names, f.At(), f.Descriptor(), nil
		},
	}
	if n.tweak != nil {
		n.tweak(&cfg)
	}
	h, err := shard.NewHost(cfg)
	if err != nil {
		n.d.t.Fatal(err)
	}
	n.host = h
}

// crash loses what was not synced or flushed, and starts the node again.
func (d *drive) crash(name shard.Node) {
	d.t.Helper()
	n := d.node(name)
	s, err := n.store.Crash(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	n.store = s
	n.start()
	for _, o := range d.nodes {
		n.host.Heard(o.name)
	}
	for _, r := range s.Replicas() {
		if err := n.host.Open(r); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *drive) node(name shard.Node) *driven {
	for _, n := range d.nodes {
		if n.name == name {
			return n
		}
	}
	d.t.Fatalf("no node %s", name)
	return nil
}

// create makes shard 1 with voters on the nodes named.
func (d *drive) create(voters ...shard.Node) *shard.Genesis {
	d.t.Helper()
	g := &shard.Genesis{
		Descriptor: shard.Descriptor{Shard: 1, Class: shard.Region},
		Time:       d.now,
		Slots:      []shard.SlotChange{{Namespace: "demo", Last: relay.Slots - 1, Own: true}},
		Policies:   []shard.PolicyChange{{Namespace: "demo", Policy: channel.Policy{Age: time.Minute}}},
	}
	for i, v := range voters {
		g.Descriptor.Members = append(g.Descriptor.Members, shard.Member{Number: shard.Number(i + 1), Node: v, Role: shard.Voter})
	}
	for _, v := range voters {
		if err := d.node(v).host.Create(g); err != nil {
			d.t.Fatal(err)
		}
	}
	d.run()
	return g
}

// run lets everything happen that has not to wait for time.
func (d *drive) run() {
	d.t.Helper()
	for round := 0; ; round++ {
		if round > 100_000 {
			d.t.Fatal("no end of work")
		}
		busy := false
		for _, n := range d.nodes {
			if n.once() {
				busy = true
			}
		}
		if !busy {
			return
		}
	}
}

func (n *driven) once() bool {
	n.d.t.Helper()
	inbox := n.inbox
	n.inbox = nil
	for _, l := range inbox {
		n.host.Receive(l.from, l.m)
	}
	w := n.host.Take()
	if err := n.host.Err(); err != nil {
		n.d.t.Fatalf("node %s: %v", n.name, err)
	}
	n.d.events = append(n.d.events, w.Events...)
	for _, x := range w.Writes {
		n.d.writes++
		if err := n.store.Write(x); err != nil {
			n.d.t.Fatal(err)
		}
	}
	n.held = append(n.held, w.Writes...)
	if !n.d.lag[n.name] {
		n.sync()
	}
	n.applies = append(n.applies, w.Applies...)
	if !n.d.silent[n.name] {
		n.apply()
	}
	n.fetches = append(n.fetches, w.Fetches...)
	if !n.hold {
		n.fetch()
	}
	for _, r := range w.Upkeep {
		n.upkeep(r)
	}
	n.send(w.Send)
	return len(inbox)+len(w.Writes)+len(w.Applies)+len(w.Fetches)+len(w.Upkeep)+len(w.Send) > 0
}

func (n *driven) sync() {
	if err := n.store.Sync(); err != nil {
		n.d.t.Fatal(err)
	}
	held := n.held
	n.held = nil
	for _, x := range held {
		n.host.Written(x)
	}
}

func (n *driven) apply() {
	list := n.applies
	n.applies = nil
	for _, a := range list {
		b := n.store.Begin(a.Replica)
		if err := n.machine.Run(a, b); err != nil {
			n.d.t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			n.d.t.Fatal(err)
		}
		a.Answer()
		n.host.Applied(a)
	}
}

func (n *driven) fetch() {
	list := n.fetches
	n.fetches = nil
	for _, f := range list {
		staged, err := n.stage(f)
		n.host.Fetched(f, staged, err)
		from := n.d.node(f.From)
		from.host.FetchEnded(shard.Replica{Shard: f.Replica.Shard, Number: 0}, f.Replica.Number, err)
	}
}

var errNotFrozen = errors.New("no such snapshot")

func (n *driven) stage(f *shard.Fetch) (shard.Staging, error) {
	frozen := n.d.node(f.From).frozen[f.Snapshot]
	if frozen == nil {
		return nil, errNotFrozen
	}
	st, err := n.store.Stage(f.Replica, f.At)
	if err != nil {
		return nil, err
	}
	for {
		from, done := st.From()
		if done {
			return st, nil
		}
		c, err := frozen.Chunk(from, 512)
		if err != nil {
			return nil, err
		}
		if err := st.Put(c); err != nil {
			return nil, err
		}
	}
}

func (n *driven) upkeep(r shard.Replica) {
	n.upkeeps++
	state := n.store.Read(r, false)
	list := shard.Upkeep(state, n.d.now)
	state.Close()
	if len(list) > 0 {
		n.host.Propose(r.Shard, list, func(error) {})
	}
}

func (n *driven) send(list []shard.Send) {
	for _, s := range list {
		for _, m := range slices.Concat(s.Urgent, s.Bulk) {
			n.d.sent++
			if n.d.drop != nil && n.d.drop(n.name, s.To, m) {
				continue
			}
			to := n.d.node(s.To)
			to.inbox = append(to.inbox, letter{n.name, m})
		}
		n.d.bulk += len(s.Bulk)
	}
}

// ticks lets time pass.
func (d *drive) ticks(n int) {
	d.t.Helper()
	for range n {
		d.now = d.now.Add(50 * time.Millisecond)
		for _, x := range d.nodes {
			x.host.Tick()
		}
		d.run()
	}
}

// leader lets time pass until shard 1 has a leader that serves.
func (d *drive) leader() *driven {
	d.t.Helper()
	for range 400 {
		for _, n := range d.nodes {
			if st, ok := n.host.Status(1); ok && st.Role == shard.Leading && d.drop == nil {
				return n
			} else if ok && st.Role == shard.Leading && d.follows(n) {
				return n
			}
		}
		d.ticks(1)
	}
	d.t.Fatal("no leader")
	return nil
}

// follows reports whether another node follows n, so that n is no leader of the past.
func (d *drive) follows(n *driven) bool {
	mine, _ := n.host.Status(1)
	for _, o := range d.nodes {
		if st, ok := o.host.Status(1); ok && o != n && st.Term == mine.Term && st.Leader == mine.Leader {
			return true
		}
	}
	return false
}

// An outcome is what became of a publish.
type outcome struct {
	at       relay.Position
	end      relay.End
	answered int
}

func (n *driven) publish(ch relay.Channel, body string) *outcome {
	n.d.t.Helper()
	o := &outcome{}
	err := n.host.Publish(1, relay.Publication{Channel: ch, Subject: "s", Body: relaytest.Body(body, "")}, func(at relay.Position, end relay.End) {
		o.at, o.end = at, end
		o.answered++
	})
	if err != nil {
		n.d.t.Fatal(err)
	}
	return o
}

// acked publishes, and fails the test if that is not acknowledged.
func (n *driven) acked(ch relay.Channel, body string) relay.Position {
	n.d.t.Helper()
	o := n.publish(ch, body)
	n.d.run()
	if o.answered != 1 || o.end.Code != relay.Done {
		n.d.t.Fatalf("publish of %q: answered %d times, %v %s", body, o.answered, o.end.Code, o.end.Detail)
	}
	return o.at
}

// same fails the test unless all replicas of shard 1 have applied the same, and hold the same.
func (d *drive) same() {
	d.t.Helper()
	want, first := "", ""
	for _, n := range d.nodes {
		st, ok := n.host.Status(1)
		if !ok {
			continue
		}
		state := n.store.Read(st.Replica, false)
		got := fmt.Sprintf("applied %d, sum %x", st.Applied, sum(state))
		state.Close()
		if want == "" {
			want, first = got, string(n.name)
		} else if got != want {
			d.t.Fatalf("%s has %s, %s has %s", n.name, got, first, want)
		}
	}
}

func sum(r channel.Reader) uint64 {
	var s shard.Summer
	s.Reset()
	for k, v := range r.Ascend(nil, []byte{255, 255, 255}) {
		s.Add(k, v)
	}
	return s.Sum()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
