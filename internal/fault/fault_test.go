package fault

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/wan"
)

// A fault hurts a fleet under load and leaves it whole; whether the promises held is judged after.
type fault struct {
	name string
	do   func(f *fleet, l *load, rng *rand.Rand)
}

// victim is the shard whose leader and followers are hurt: the first of class region.
const victim = shard.ID(shards + 1)

// away is how long something is gone: longer than an election takes.
const away = 2500 * time.Millisecond

// faults are those that a campaign mixes, and each of which is a test.
var faults = []fault{
	{"kill the leader", func(f *fleet, l *load, rng *rand.Rand) { f.restart(f.leading(victim), pick(rng, 0, away)) }},
	{"kill a follower", func(f *fleet, l *load, rng *rand.Rand) { f.restart(f.follower(victim), pick(rng, 0, away)) }},
	{"kill all", func(f *fleet, l *load, rng *rand.Rand) {
		for range 2 {
			f.killAll()
			f.start()
			time.Sleep(pick(rng, 100*time.Millisecond, time.Second))
		}
	}},
	{"freeze the leader", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.leading(victim)
		x.freeze(true)
		time.Sleep(away)
		x.freeze(false) // it believes that it leads, and has answers to give
	}},
	{"freeze all", func(f *fleet, l *load, rng *rand.Rand) {
		for _, frozen := range []bool{true, false} {
			for _, x := range f.nodes {
				x.freeze(frozen)
			}
			time.Sleep(away / 2)
		}
	}},
	{"cut the leader off the nodes", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.leading(victim)
		f.among(x, func(other *node) { f.net.Cut(x.name, other.name, true) })
		time.Sleep(away) // edges still reach it
	}},
	{"cut an edge's node off the nodes", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.linked(victim, l)
		f.among(x, func(other *node) { f.net.Cut(x.name, other.name, true) })
		begin := time.Now()
		l.healthy()
		took := time.Since(begin)
		f.t.Logf("its clients publish again after %v", took.Round(time.Millisecond))
		if took > 20*time.Second { // else it takes about four
			f.t.Errorf("its clients could not publish for %v", took)
		}
	}},
	{"cut the leader off everybody", func(f *fleet, l *load, rng *rand.Rand) {
		f.net.Isolate(f.leading(victim).name, true)
		time.Sleep(away)
	}},
	{"cut what the leader says", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.leading(victim)
		f.among(x, func(other *node) { f.net.CutWay(x.name, other.name, true) })
		time.Sleep(away)
	}},
	{"cut what the leader hears", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.leading(victim)
		f.among(x, func(other *node) { f.net.CutWay(other.name, x.name, true) })
		time.Sleep(away)
	}},
	{"leave one node as a bridge", func(f *fleet, l *load, rng *rand.Rand) {
		f.net.Cut(f.leading(victim).name, f.follower(victim).name, true)
		time.Sleep(away)
	}},
	{"flap", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.leading(victim)
		for i := range 12 {
			f.net.Isolate(x.name, i%2 == 0)
			time.Sleep(pick(rng, 50*time.Millisecond, 400*time.Millisecond))
		}
	}},
	{"lose a tenth", func(f *fleet, l *load, rng *rand.Rand) {
		f.net.All(func(w *wan.Way) { w.Loss = 0.1 })
		time.Sleep(2 * away)
	}},
	{"delay five times", func(f *fleet, l *load, rng *rand.Rand) {
		f.net.All(func(w *wan.Way) { w.Delay = 5 * time.Millisecond })
		time.Sleep(away / 2)
		f.net.All(func(w *wan.Way) { w.Delay, w.Jitter = 25*time.Millisecond, 5*time.Millisecond })
		time.Sleep(away)
	}},
	{"spoil datagrams", func(f *fleet, l *load, rng *rand.Rand) {
		f.net.All(func(w *wan.Way) { w.Corrupt, w.Duplicate, w.Reorder = 0.02, 0.05, 0.05 })
		time.Sleep(away)
	}},
	{"transfer leadership", func(f *fleet, l *load, rng *rand.Rand) {
		for range 3 {
			f.transfer(victim)
			time.Sleep(pick(rng, 100*time.Millisecond, 500*time.Millisecond))
		}
	}},
	{"transfer and kill", func(f *fleet, l *load, rng *rand.Rand) {
		f.transfer(victim)
		f.restart(f.leading(victim), away/2)
	}},
	{"kill the edge", func(f *fleet, l *load, rng *rand.Rand) {
		f.edge.kill()
		f.must(f.edge.start())
	}},
}

// pick draws a time.
func pick(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)+1))
}

// among calls g for every node but x.
func (f *fleet) among(x *node, g func(*node)) {
	for _, other := range f.nodes {
		if other != x {
			g(other)
		}
	}
}

// linked has all links of the edge lead to the shard's leader.
func (f *fleet) linked(id shard.ID, l *load) *node {
	f.t.Helper()
	x := f.leading(id)
	f.edge.kill()
	f.among(x, func(other *node) { f.net.Cut("edge-1", other.name, true) })
	f.must(f.edge.start())
	l.healthy()
	f.among(x, func(other *node) { f.net.Cut("edge-1", other.name, false) })
	return x
}

// restart kills a node and starts it again after a while.
func (f *fleet) restart(x *node, down time.Duration) {
	f.t.Helper()
	x.kill()
	time.Sleep(down)
	f.must(x.start())
}

func (f *fleet) killAll() {
	var all sync.WaitGroup
	for _, x := range f.nodes {
		all.Go(x.kill)
	}
	all.Wait()
}

// transfer hands a shard's leadership to another node. That it is refused or fails under faults
// is no error.
func (f *fleet) transfer(id shard.ID) {
	f.t.Helper()
	f.transferTo(id, f.follower(id))
}

func (f *fleet) transferTo(id shard.ID, to *node) {
	f.t.Helper()
	from := f.leading(id)
	if from == to {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := from.api.Transfer(ctx, id, shard.Node(to.name)); err != nil {
		f.t.Logf("transfer of %v from %s to %s: %v", id, from.name, to.name, err)
	}
}

// heal joins what was cut and starts what does not run.
func (f *fleet) heal() {
	f.t.Helper()
	f.net.Heal()
	for _, x := range f.nodes {
		x.freeze(false)
	}
	f.start()
	if !f.edge.running() {
		f.edge.kill()
		f.must(f.edge.start())
	}
}

// within lets a subtest use the fleet.
func (f *fleet) within(name string, g func(t *testing.T)) {
	outer := f.t
	defer func() { f.t = outer }()
	outer.Run(name, func(t *testing.T) {
		f.t = t
		g(t)
	})
}

// hurt runs one fault under a load of its own and judges.
func (f *fleet) hurt(x fault, rng *rand.Rand) {
	f.within(x.name, func(t *testing.T) {
		f.heal()
		l := newLoad(t, f, label(x.name), loadConfig{})
		l.healthy()
		x.do(f, l, rng)
		f.heal()
		l.healthy()
		l.judge()
	})
}

// label makes a channel's name of a fault's.
func label(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == ' ' {
			b[i] = '-'
		}
	}
	return string(b)
}

// TestFaults hurts a fleet of three nodes in every way, one after the other.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	rng := rand.New(rand.NewPCG(1, 0))
	for _, x := range faults {
		f.hurt(x, rng)
	}
}
