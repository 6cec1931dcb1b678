package fault

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/campaign"
)

// memberships are faults in the midst of which members of groups are exchanged, with a snapshot each.
var memberships = []fault{
	{"wipe a follower", func(f *fleet, l *load, rng *rand.Rand) { f.replace(f.wipe()) }},
	{"wipe a follower, and kill the leader meanwhile", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.wipe()
		f.begin(x)
		f.restart(f.leading(victim), pick(rng, 0, away))
		f.replace(x)
	}},
	{"wipe a follower, and cut it off meanwhile", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.wipe()
		f.begin(x)
		for range 3 {
			time.Sleep(pick(rng, 0, away/4))
			f.net.Isolate(x.name, true)
			time.Sleep(pick(rng, 0, away))
			f.net.Isolate(x.name, false)
		}
		f.replace(x)
	}},
	{"wipe a follower, and transfer leadership meanwhile", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.wipe()
		f.begin(x)
		f.among(x, func(other *node) { f.transferTo(victim, other) })
		f.replace(x)
	}},
	{"wipe a follower, and freeze the leader meanwhile", func(f *fleet, l *load, rng *rand.Rand) {
		x := f.wipe()
		f.begin(x)
		leader := f.leading(victim)
		leader.freeze(true)
		time.Sleep(away)
		leader.freeze(false)
		f.replace(x)
	}},
}

// wipe lets a follower lose its disk, and start without. The fleet is whole before: only one disk
// may be lost at a time.
func (f *fleet) wipe() *node {
	f.t.Helper()
	f.heal()
	for _, x := range f.nodes {
		for deadline := time.Now().Add(replaceWithin); !f.settled(x); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				f.t.Fatalf("%s lacks replicas %v after the last fault", x.name, replaceWithin)
			}
		}
	}
	x := f.follower(victim)
	x.kill()
	f.must(os.RemoveAll(x.data))
	f.must(x.start("--join"))
	return x
}

// begin asks every leader to give x its replicas back, without waiting for that.
func (f *fleet) begin(x *node) {
	f.among(x, func(other *node) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if _, err := other.api.Replace(ctx, shard.Node(x.name)); err != nil {
			f.t.Logf("replace at %s: %v", other.name, err)
		}
	})
}

// TestCampaignDurable lets random faults strike a fleet of three nodes under load, in rounds, and
// judges each.
func TestCampaignDurable(t *testing.T) {
	seed, length := campaign.Settings(t, 0)
	mixed := slices.Concat(faults, memberships)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFleet(t, 3)
	begin := time.Now()
	for round := 0; round == 0 || time.Since(begin) < length && !t.Failed(); round++ {
		f.within("round "+strconv.Itoa(round), func(t *testing.T) {
			f.heal()
			l := newLoad(t, f, "round-"+strconv.Itoa(round), loadConfig{
				channels: 1 + rng.IntN(12), publishers: 1 + rng.IntN(3),
				rate: 50 + rng.IntN(400), bytes: 50 + rng.IntN(4000), mixed: true,
			})
			l.healthy()
			for range 1 + rng.IntN(5) {
				x := mixed[rng.IntN(len(mixed))]
				t.Logf("%v: %s", time.Since(begin).Round(time.Second), x.name)
				x.do(f, l, rng)
				if rng.IntN(3) > 0 { // else the next strikes a fleet that is hurt already
					f.heal()
					time.Sleep(pick(rng, 0, away))
				} else {
					f.start() // what asks for a leader needs a quorum of processes
				}
			}
			f.heal()
			l.healthy()
			l.judge()
		})
	}
}
