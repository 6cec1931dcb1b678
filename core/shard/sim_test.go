package shard_test

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
)

// The simulation runs the Hosts of a few nodes over a network, a clock and disks that are made of
// one seed: the same seed gives the same trace, to the last message. Publishers repeat what was
// not answered, subscribers read from the applied states of all replicas, faults come as the plan
// says, and internal/check judges what all of them saw.

// A sim is one run.
type sim struct {
	plan  *plan
	rand  *rand.Rand
	now   time.Duration // since start
	queue events
	seq   uint64
	hash  *xxhash.Digest

	nodes  []*simNode
	byName map[shard.Node]*simNode
	shards []shard.ID
	cuts   map[[2]int]time.Duration // from, to: until when nothing comes through
	fifo   map[[3]int]time.Duration // from, to, class: when the last message arrives

	rec      *check.Recorder
	pubs     []*publisher
	subs     []*subscriber
	entries  map[shard.Replica]map[uint64]uint64 // by shard (number 0): what stands at an index, hashed
	leaders  map[shard.ID]uint64                 // the newest term in which one led
	votes    map[[2]uint64]shard.Number          // shard and term: who led
	stats    stats
	found    []string // violations
	granted  map[shard.Replica]grant
	draining bool
}

// stats count what happened.
type stats struct {
	events, sent, lost, duplicated, reordered   int
	crashes, power, pauses, cuts, slow, flushes int
	elections, transfers, members, snapshots    int
	damaged, commands, upkeeps, barriers        int
	published, acknowledged, repeated, given    int
	delivered, restarts, fetches, failedFetches int
}

func (s *stats) add(o *stats) {
	for _, f := range []struct {
		to   *int
		from int
	}{
		{&s.events, o.events}, {&s.sent, o.sent}, {&s.lost, o.lost}, {&s.duplicated, o.duplicated},
		{&s.reordered, o.reordered}, {&s.crashes, o.crashes}, {&s.power, o.power}, {&s.pauses, o.pauses},
		{&s.cuts, o.cuts}, {&s.slow, o.slow}, {&s.flushes, o.flushes}, {&s.elections, o.elections},
		{&s.transfers, o.transfers}, {&s.members, o.members}, {&s.snapshots, o.snapshots},
		{&s.damaged, o.damaged}, {&s.commands, o.commands}, {&s.upkeeps, o.upkeeps},
		{&s.barriers, o.barriers}, {&s.published, o.published}, {&s.acknowledged, o.acknowledged},
		{&s.repeated, o.repeated}, {&s.given, o.given}, {&s.delivered, o.delivered},
		{&s.restarts, o.restarts}, {&s.fetches, o.fetches}, {&s.failedFetches, o.failedFetches},
	} {
		*f.to += f.from
	}
}

func (s *stats) String() string {
	return fmt.Sprintf("%d events; messages: %d sent, %d lost, %d twice, %d out of order; "+
		"%d crashes, %d of all nodes, %d restarts, %d pauses, %d cuts, %d slow disks, %d damaged logs, %d flushes; "+
		"%d elections, %d transfers, %d changes of members, %d snapshots taken in, %d fetches, %d failed; "+
		"%d commands, %d rounds of retention, %d barriers; "+
		"%d publishes, %d acknowledged, %d attempts repeated, %d given up, %d deliveries",
		s.events, s.sent, s.lost, s.duplicated, s.reordered,
		s.crashes, s.power, s.restarts, s.pauses, s.cuts, s.slow, s.damaged, s.flushes,
		s.elections, s.transfers, s.members, s.snapshots, s.fetches, s.failedFetches,
		s.commands, s.upkeeps, s.barriers,
		s.published, s.acknowledged, s.repeated, s.given, s.delivered)
}

// An event happens at a time; those of the same time in the order in which they were made.
type event struct {
	at   time.Duration
	seq  uint64
	node *simNode // whose it is; nil: the world's
	boot int      // of the node: later ones do not get it
	do   func()
}

type events []*event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(*event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return x
}

// after lets something happen in the world.
func (s *sim) after(d time.Duration, do func()) { s.push(&event{at: s.now + d, do: do}) }

func (s *sim) push(e *event) {
	s.seq++
	e.seq = s.seq
	heap.Push(&s.queue, e)
}

// start is when the simulated time begins.
var start = time.Unix(1_700_000_000, 0)

// mix makes numbers a part of the trace.
func (s *sim) mix(v ...uint64) {
	var b [8]byte
	for _, x := range v {
		binary.LittleEndian.PutUint64(b[:], x)
		s.hash.Write(b[:])
	}
}

func (s *sim) fail(format string, args ...any) {
	if len(s.found) < 10 {
		s.found = append(s.found, fmt.Sprintf("at %v: ", s.now)+fmt.Sprintf(format, args...))
	}
}

// step lets the next event happen.
func (s *sim) step() {
	e := heap.Pop(&s.queue).(*event)
	s.now = max(s.now, e.at)
	s.stats.events++
	if n := e.node; n != nil {
		if n.boot != e.boot || n.host == nil {
			return
		}
		if n.paused > s.now {
			e.at = n.paused
			heap.Push(&s.queue, e) // keeps its place among those that wait
			return
		}
		s.mix(uint64(s.now), uint64(n.index))
		e.do()
		n.drain()
		return
	}
	e.do()
}

func (s *sim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rand.Int64N(int64(hi-lo)+1))
}

func (s *sim) chance(p float64) bool { return s.rand.Float64() < p }

// newSim makes the world that a plan describes.
func newSim(p *plan) *sim {
	s := &sim{
		plan: p, rand: rand.New(rand.NewPCG(p.seed, 1)), hash: xxhash.New(),
		byName: make(map[shard.Node]*simNode), cuts: make(map[[2]int]time.Duration),
		fifo:    make(map[[3]int]time.Duration),
		entries: make(map[shard.Replica]map[uint64]uint64), leaders: make(map[shard.ID]uint64),
		votes: make(map[[2]uint64]shard.Number), granted: make(map[shard.Replica]grant),
	}
	s.rec = check.NewRecorder(check.RecorderConfig{Name: "simulation", Clock: check.Clock{
		Name: "simulated", Now: func() int64 { return int64(s.now) },
	}})
	for i := range p.nodes + p.spares {
		n := newNode(s, i)
		s.nodes = append(s.nodes, n)
		s.byName[n.name] = n
	}
	for i := range p.shards {
		g := genesis(s, shard.ID(i+1))
		s.shards = append(s.shards, g.Descriptor.Shard)
		for _, n := range s.nodes[:p.nodes] {
			n.create = append(n.create, g)
		}
	}
	for _, n := range s.nodes {
		n.boots(true)
	}
	s.beat()
	for i := range p.publishers {
		s.pubs = append(s.pubs, newPublisher(s, i))
	}
	for i := range p.subscribers {
		s.subs = append(s.subs, newSubscriber(s, i))
	}
	s.after(s.between(0, 300*time.Millisecond), s.barrier)
	s.after(time.Second, s.control)
	for i := range p.steps {
		st := &p.steps[i]
		s.after(st.at, func() { s.fault(st) })
	}
	return s
}

// kinds of namespaces: what they keep.
var namespaces = []relay.Namespace{"all", "few"}

func namespace(ns relay.Namespace, id shard.ID) relay.Namespace {
	return relay.Namespace(fmt.Sprintf("%s%d", ns, id))
}
