package core

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store/storetest"
	"github.com/meridian-relay/meridian/internal/wan"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

const worldPort = 4433

// A simWorld is nodes on disks in memory over a simulated network: their power can be cut.
type simWorld struct {
	t     *testing.T
	net   *wan.Network
	boxes []*box
}

// A box is a node's machine, through power cuts.
type box struct {
	w    *simWorld
	name string
	cfg  NodeConfig

	// mu is held for reading while something leaves the box, and for writing while its power is
	// cut, so that nothing leaves after that moment.
	mu   sync.RWMutex
	disk *storetest.Disk
	life *life // nil: it is off
}

// A life is a node from its start to its end.
type life struct {
	node *Node
	stop context.CancelFunc
	gone chan struct{} // closed when the power is cut, or the node ended
	done chan struct{} // closed when Run has returned
	err  error         // of Run
	dead bool          // guarded by box.mu
}

// newWorld starts a node at each place; edit changes a configuration before that.
func newWorld(t *testing.T, members []Member, edit func(*NodeConfig)) *simWorld {
	t.Helper()
	return newWorldOver(t, members, func(*simWorld) {}, edit)
}

// newWorldOver prepares the network before.
func newWorldOver(t *testing.T, members []Member, prepare func(*simWorld), edit func(*NodeConfig)) *simWorld {
	t.Helper()
	w := &simWorld{t: t, net: wan.New(wan.NetworkConfig{Seed: 1})}
	a := newAuthority(t)
	for i := range members {
		members[i].Address = w.net.Place(string(members[i].Name)).Addr(worldPort).String()
	}
	prepare(w)
	for _, m := range members {
		b := &box{w: w, name: string(m.Name), disk: storetest.NewDisk()}
		place := w.net.Place(b.name)
		b.cfg = single(t)
		b.cfg.Name, b.cfg.Dir, b.cfg.Ballast, b.cfg.Nodes = m.Name, "/node", -1, members
		b.cfg.TLS = a.conf(t, "node/"+b.name)
		b.cfg.Log = b.cfg.Log.With("node", b.name)
		b.cfg.Namespaces = map[relay.Namespace]Namespace{relaytest.Plain: {}}
		b.cfg.Dial = func() (net.PacketConn, error) { return place.ListenPacket(0, "dial") }
		if edit != nil {
			edit(&b.cfg)
		}
		w.boxes = append(w.boxes, b)
	}
	t.Cleanup(func() {
		for _, b := range w.boxes {
			if l := b.alive(); l != nil {
				b.off(l)
			}
		}
		w.net.Close()
	})
	for _, b := range w.boxes {
		b.start()
		b.cfg.Bootstrap = false
	}
	w.until("every replica to know its leader", drainWithin, func() bool {
		for _, b := range w.boxes {
			known := b.alive() != nil
			b.alive().node.local.each(func(r *replica) {
				_, ok := r.leader()
				known = known && ok
			})
			if !known || !b.alive().node.notes.begun() {
				return false
			}
		}
		return true
	})
	return w
}

// start begins a life.
func (b *box) start() {
	b.w.t.Helper()
	conn, err := b.w.net.Place(b.name).ListenPacket(worldPort, "node")
	if err != nil {
		b.w.t.Fatal(err)
	}
	c := b.cfg
	c.PacketConn, c.FS = conn, b.disk.FS()
	n, err := NewNode(c)
	if err != nil {
		b.w.t.Fatalf("%s does not start: %v", b.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{node: n, stop: cancel, gone: make(chan struct{}), done: make(chan struct{})}
	go func() {
		l.err = n.Run(ctx)
		b.mu.Lock()
		b.bury(l)
		b.mu.Unlock()
		close(l.done)
	}()
	b.mu.Lock()
	b.life = l
	b.mu.Unlock()
}

// bury ends a life for those who look at it. The caller holds mu.
func (b *box) bury(l *life) {
	if !l.dead {
		l.dead = true
		close(l.gone)
	}
	if b.life == l {
		b.life = nil
	}
}

// alive returns the box's life, or nil.
func (b *box) alive() *life {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.life
}

// off ends a life in good order.
func (b *box) off(l *life) {
	l.stop()
	<-l.done
	if l.err != nil {
		b.w.t.Errorf("%s ended with %v", b.name, l.err)
	}
}

// cutPower cuts the power of all these boxes at one moment. What a disk has of what was not
// synced, percent says.
func (w *simWorld) cutPower(boxes []*box, percent int, rng *rand.Rand) {
	w.t.Helper()
	var lives []*life
	for _, b := range boxes {
		b.mu.Lock()
		w.net.Isolate(b.name, true)
	}
	for _, b := range boxes {
		b.disk = b.disk.CutPower(percent, rng)
		if l := b.life; l != nil {
			lives = append(lives, l)
			b.bury(l)
		}
	}
	for _, b := range boxes {
		b.mu.Unlock()
	}
	// What is left of them runs on, on disks that nobody reads any more, heard by nobody.
	for _, l := range lives {
		l.stop()
		<-l.done
	}
}

// restore gives boxes their power back.
func (w *simWorld) restore(boxes []*box) {
	w.t.Helper()
	for _, b := range boxes {
		w.net.Isolate(b.name, false)
		b.start()
	}
}

// leader returns the box that leads a channel's shard; nil: none says so.
func (w *simWorld) leader(ch relay.Channel) *box {
	for _, b := range w.boxes {
		if l := b.alive(); l != nil {
			if r := l.node.local.replica(l.node.local.plan.Load().owner(ch)); r != nil && r.leads() {
				return b
			}
		}
	}
	return nil
}

// until waits for something that the world comes to.
func (w *simWorld) until(what string, within time.Duration, ok func() bool) {
	w.t.Helper()
	for late := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			w.t.Fatalf("waited %v for: %s", within, what)
		}
	}
}

// places returns members, one a zone, in these regions.
func places(regions ...relay.Region) []Member {
	var list []Member
	for i, r := range regions {
		list = append(list, Member{Name: shard.Node(fmt.Sprintf("n%d", i+1)), Region: r, Zone: fmt.Sprint("z", i)})
	}
	return list
}
