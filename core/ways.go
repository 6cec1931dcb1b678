package core

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

const (
	linksPerNode = 2                      // channels are spread over them
	wayIdle      = 5 * time.Minute        // a way that nobody used for so long is closed
	silentFor    = 2 * time.Second        // a connection that is silent for so long is dialled anew
	aliveEvery   = 400 * time.Millisecond // signs of life
)

// ways are links to other nodes, opened when they are first asked for. Safe for concurrent use.
type ways struct {
	// Set at construction.
	fleet   string
	agent   string
	address func(shard.Node) string
	dialer  *transport.Dialer
	log     *slog.Logger

	mu    sync.Mutex
	ctx   context.Context // of run; nil: not running
	group sync.WaitGroup
	open  map[shard.Node]*way
}

// A way is the links to one node.
type way struct {
	links *link.Links
	stop  context.CancelFunc
	used  atomic.Int64 // when a publish or a subscription last began, Unix ns
	subs  atomic.Int64 // open subscriptions
}

func newWays(fleet string, self shard.Node, conf *tls.Config, conn net.PacketConn, address func(shard.Node) string, log *slog.Logger) (*ways, error) {
	dialer, err := transport.NewDialer(transport.DialerConfig{
		TLS: conf, AnyHost: true, PacketConn: conn, IdleTimeout: silentFor, KeepAlive: aliveEvery,
	})
	if err != nil {
		return nil, err
	}
	return &ways{
		fleet: fleet, agent: "meridian node " + string(self), address: address, dialer: dialer, log: log,
		open: make(map[shard.Node]*way),
	}, nil
}

// to returns the way to a node; nil: there is none.
func (w *ways) to(node shard.Node) *way {
	w.mu.Lock()
	defer w.mu.Unlock()
	if have := w.open[node]; have != nil {
		return have
	}
	if w.ctx == nil || w.ctx.Err() != nil || w.address(node) == "" {
		return nil
	}
	ctx, stop := context.WithCancel(w.ctx)
	have := &way{stop: stop, links: link.NewLinks(link.LinksConfig{
		Links: linksPerNode, Log: w.log.With("node", node),
		Dial: func(ctx context.Context) (*link.Link, error) { return w.dial(ctx, node) },
	})}
	have.used.Store(time.Now().UnixNano())
	w.open[node] = have
	w.group.Go(func() { _ = have.links.Run(ctx) }) // ends with ctx alone
	return have
}

// dial opens a link to a node, and to no other that may answer at its address.
func (w *ways) dial(ctx context.Context, node shard.Node) (*link.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, silentFor)
	defer cancel()
	session, err := w.dialer.QUIC(ctx, w.address(node))
	if err != nil {
		return nil, err
	}
	if names := session.Peer().Names; !pki.IsNode(names, w.fleet, string(node)) {
		session.Close(relay.Forbidden, "another node was dialled")
		return nil, fmt.Errorf("%s has a certificate for %q, not for node %q of fleet %q", w.address(node), names, node, w.fleet)
	}
	return link.Connect(ctx, link.Config{
		Session: session, Agent: w.agent,
		Default: link.Options{Window: -1}, // the hub reads all, and bounds it
	})
}

// run keeps ways open until ctx ends.
func (w *ways) run(ctx context.Context) error {
	w.mu.Lock()
	w.ctx = ctx
	w.mu.Unlock()
	look := time.NewTicker(wayIdle / 5)
	defer look.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-look.C:
			w.closeIdle()
		}
	}
	w.group.Wait()
	return w.dialer.Close()
}

func (w *ways) closeIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for node, have := range w.open {
		if have.subs.Load() == 0 && time.Since(time.Unix(0, have.used.Load())) > wayIdle {
			have.stop()
			delete(w.open, node)
		}
	}
}

func (w *way) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	w.used.Store(time.Now().UnixNano())
	return w.links.Publish(p, answer)
}

func (w *way) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	w.used.Store(time.Now().UnixNano())
	w.subs.Add(1)
	return &overWay{Subscription: w.links.Subscribe(r, wake), way: w}
}

var _ relay.Upstream = (*way)(nil)

// overWay counts a subscription as long as it is open.
type overWay struct {
	relay.Subscription
	way    *way
	closed bool
}

func (o *overWay) Close() {
	if !o.closed {
		o.closed = true
		o.way.subs.Add(-1)
	}
	o.Subscription.Close()
}
