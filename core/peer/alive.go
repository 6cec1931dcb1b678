package peer

import (
	"context"
	"sync"
	"time"
)

// hear notes that something came from the node.
func (n *node) hear() {
	n.heard.Store(int64(time.Since(n.p.start)))
	if n.alive.Load() {
		return
	}
	n.life.Lock()
	defer n.life.Unlock()
	if n.alive.Swap(true) {
		return
	}
	n.p.cfg.Log.Info("node is alive", "node", n.name)
	n.p.cfg.Heard(n.name)
	poke(n.dialNow)
}

// judge calls a node lost that was not heard of for long enough.
func (n *node) judge() {
	if !n.alive.Load() {
		return
	}
	n.life.Lock()
	defer n.life.Unlock()
	silent := time.Since(n.p.start) - time.Duration(n.heard.Load())
	if silent < n.p.cfg.LostAfter {
		return
	}
	n.alive.Store(false)
	n.p.cfg.Log.Warn("node is lost", "node", n.name, "silent", silent)
	n.p.cfg.Lost(n.name)
	if !n.connected.Load() {
		n.purge()
	}
}

// purge drops what waits for a node that is lost.
func (n *node) purge() {
	for _, q := range []*queue{n.urgent, n.bulk} {
		for list := q.take(nil, 1<<20); len(list) > 0; list = q.take(nil, 1<<20) {
			n.p.drop(DropLost, list)
		}
	}
}

// watch judges all nodes until ctx is done.
func (p *Peers) watch(ctx context.Context) {
	every := max(p.cfg.LostAfter/20, time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		nodes := make([]*node, 0, len(p.nodes))
		for _, n := range p.nodes {
			nodes = append(nodes, n)
		}
		p.mu.Unlock()
		pause := time.Since(last) - every
		last = time.Now()
		for _, n := range nodes {
			if pause > 4*every {
				n.forgive(pause)
			}
			n.judge()
		}
	}
}

// forgive takes a pause of this process off the node's silence: what came meanwhile has yet to be
// read.
func (n *node) forgive(pause time.Duration) {
	heard := n.heard.Load()
	later := min(heard+int64(pause), int64(time.Since(n.p.start)))
	n.heard.CompareAndSwap(heard, later) // if not, it was heard of just now
}

// An often tells whether a text is new, or was not told for a while.
type often struct {
	every time.Duration // set at construction

	mu   sync.Mutex
	told map[string]time.Time // at most maxTold
}

const maxTold = 256

func (o *often) tell(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if at, ok := o.told[text]; ok && now.Sub(at) < o.every {
		return false
	}
	if o.told == nil || len(o.told) >= maxTold {
		o.told = make(map[string]time.Time)
	}
	o.told[text] = now
	return true
}
