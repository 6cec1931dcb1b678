package core

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// regions starts five nodes in three regions, with measured round trips, and one namespace of a
// class with its home in the first region.
func regions(t *testing.T, class shard.Class, away time.Duration) *simWorld {
	t.Helper()
	list := []relay.Region{"frankfurt", "frankfurt", "london", "london", "washington"}
	return newWorldOver(t, places(list...), func(w *simWorld) {
		at := make(map[string]string)
		for i, r := range list {
			at["n"+string(rune('1'+i))] = string(r)
		}
		if err := w.net.Measured(at); err != nil {
			t.Fatal(err)
		}
	}, func(c *NodeConfig) {
		c.SteadyFor, c.AwayFor = time.Second, away
		c.Namespaces = map[relay.Namespace]Namespace{relaytest.Plain: {Class: class, Home: list[0]}}
	})
}

// led reports whether every shard is led from the home region, or, else, from another one.
func (w *simWorld) led(home bool) bool {
	b := w.boxes[len(w.boxes)-1] // it is never hurt
	plan := b.alive().node.local.plan.Load()
	for i := range plan.shards {
		found := false
		for k, b := range w.boxes {
			if l := b.alive(); l != nil {
				if r := l.node.local.replica(plan.shards[i].id); r != nil && r.leads() && (k < 2) == home {
					found = true
				}
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// A channel of class global survives the loss of its whole home region by itself, and goes home
// once that has been back for as long as is configured, and not before.
func TestGlobalLosesItsHomeRegion(t *testing.T) {
	t.Parallel() // it waits more than it works
	const away = 6 * time.Second
	w := regions(t, shard.Global, away)
	x := witnessed(w, relaytest.Plain, 8, 1)
	x.goesOn()
	w.until("it is led from home", drainWithin, func() bool { return w.led(true) })
	home := w.boxes[:2]
	w.cutPower(home, 0, nil)
	began := time.Now()
	w.until("it is led from elsewhere", drainWithin, func() bool { return w.led(false) })
	x.goesOn()
	t.Logf("goes on %v after the loss", time.Since(began).Round(time.Millisecond))
	w.restore(home)
	back := time.Now()
	for time.Since(back) < away-2*time.Second {
		if !w.led(false) {
			t.Fatalf("it went home %v after the region was back", time.Since(back))
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.until("it is led from home again", drainWithin, func() bool { return w.led(true) })
	t.Logf("at home %v after the region was back", time.Since(back).Round(time.Millisecond))
	x.goesOn()
	mustHold(t, x, x.verdict())
}

// A channel of class region waits for its home region: publishers are told that it is unavailable,
// and subscribers that it is lost, until it is back.
func TestRegionLosesItsHomeRegion(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := regions(t, shard.Region, time.Minute)
	far := w.boxes[4]
	x := witnessed(w, relaytest.Plain, 8, 1)
	x.goesOn()
	home := w.boxes[:2]
	w.cutPower(home, 0, nil)
	time.Sleep(time.Second)
	before := x.acknowledged()
	tried := 0
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		_, end := far.publish(relay.Publication{Channel: "test:probe", Subject: "bob", Body: relaytest.Body("x", "")})
		if end.Code != relay.Unavailable && end.Code != relay.Busy && end.Code != relay.Unknown {
			t.Fatalf("a publish without a home region: %v %s", end.Code, end.Detail)
		}
		if end.Code == relay.Unavailable {
			tried++
		}
	}
	if tried == 0 {
		t.Error("nobody was told that the home is unavailable")
	}
	if n := x.acknowledged(); n != before {
		t.Errorf("%d publishes were acknowledged without a home region", n-before)
	}
	w.restore(home)
	x.goesOn()
	mustHold(t, x, x.verdict())
}
