package core

import (
	"errors"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A disk that fails to sync ends its node, with the reason; the others go on, and nothing is lost.
func TestSyncErrorEndsANode(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWorld(t, places("here", "here", "here"), nil)
	x := witnessed(w, relaytest.Plain, 8, 1)
	x.goesOn()
	b := w.leader(x.channels[0])
	l, broken := b.alive(), errors.New("input/output error")
	b.disk.FailSyncs(broken)
	select {
	case <-l.done:
	case <-time.After(drainWithin):
		t.Fatal("the node goes on")
	}
	if !errors.Is(l.err, store.ErrDisk) || !errors.Is(l.err, broken) {
		t.Errorf("it ended with %v", l.err)
	}
	x.goesOn()
	b.disk = b.disk.CutPower(0, nil) // as it was: another disk than that which failed
	b.start()
	x.goesOn()
	mustHold(t, x, x.verdict())
}

// A node whose disk failed ends, with the reason, also while something of it hangs in the disk.
func TestDiskErrorEndsAHangingNode(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWorld(t, places("here", "here", "here"), nil)
	x := witnessed(w, relaytest.Plain, 8, 1)
	x.goesOn()
	b := w.leader(x.channels[0])
	l, broken, hold := b.alive(), errors.New("input/output error"), make(chan struct{})
	t.Cleanup(func() { close(hold) })
	hangs := make(chan struct{})
	l.node.inbox.ask(func(*shard.Host) { close(hangs); <-hold }, nil)
	<-hangs
	b.disk.FailSyncs(broken)
	// A write finds out.
	another := shard.Replica{Shard: 1 << 40, Number: 1}
	l.node.store.Submit(&shard.Write{Replica: another, Create: true, Sync: true}, func() {})
	select {
	case <-l.done:
	case <-time.After(failWithin + drainWithin):
		t.Fatal("the node goes on")
	}
	if !errors.Is(l.err, store.ErrDisk) || !errors.Is(l.err, broken) {
		t.Errorf("it ended with %v", l.err)
	}
}

// A node whose disk hangs hands its leaderships away, and they do not come back before it has been
// well for a while; then they do.
func TestSlowDiskLeadsNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	// One sync is told of at 2 s, the next one begins at 2.5 s, or later on a busy machine, and is
	// told of 2 s after that: for so long the node has to count as slow, and then the others have
	// to find it well for as long again.
	const steady = 4 * time.Second
	w := newWorld(t, places("here", "here", "here"), func(c *NodeConfig) { c.SteadyFor = steady })
	leads := func(b *box) (n int) {
		b.alive().node.local.each(func(r *replica) {
			if r.won() {
				n++
			}
		})
		return n
	}
	b := w.boxes[0]
	w.until("it leads what it is to lead", drainWithin, func() bool { return leads(b) > 0 })
	x := witnessed(w, relaytest.Plain, 8, 1)
	x.goesOn()
	b.disk.SlowSyncs(2500 * time.Millisecond)
	w.until("its leaderships are handed away", drainWithin, func() bool { return leads(b) == 0 })
	// A disk that nothing is written to is not seen to hang: publishes go on.
	for until := time.Now().Add(3 * steady); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		x.goesOn()
		if leads(b) > 0 {
			t.Fatal("a leadership came back to the slow disk")
		}
	}
	b.disk.SlowSyncs(0)
	w.until("it leads again", drainWithin, func() bool { return leads(b) > 0 })
	x.goesOn()
	mustHold(t, x, x.verdict())
}
