package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/relay"
)

// run keeps a connection to the node until ctx is done.
func (n *node) run(ctx context.Context) {
	log := n.p.cfg.Log.With("node", n.name)
	told := &often{every: 30 * time.Second}
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		n.p.counters.dials.Add(1)
		begin := time.Now()
		err := n.connect(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errHeard) {
			continue
		}
		if time.Since(begin) > n.p.cfg.LostAfter && !errors.Is(err, errNotConnected) {
			backoff = 0 // it worked for a while: at once
		} else {
			backoff = min(max(2*backoff, n.p.cfg.MinBackoff), n.p.cfg.MaxBackoff)
		}
		if told.tell(err.Error()) {
			log.Warn("connection to node ended", "error", err)
		}
		if !sleep(ctx, jitter(backoff), n.dialNow) {
			break
		}
	}
	n.purge()
}

// jitter returns a time between half of d and d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d/2+1)
}

// sleep waits for d or until it is woken; false: ctx is done.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

var errNotConnected = errors.New("not connected")

// A line is a connection that was dialled and welcomed.
type line struct {
	session relay.Session
	stream  relay.Stream
	reader  *frameReader
	welcome welcome
}

// dial connects to a node for a purpose. Whatever it returns does not outlive ctx.
func (p *Peers) dial(ctx context.Context, name shard.Node, why purpose) (_ *line, err error) {
	address := p.cfg.Addresses(name)
	if address == "" {
		return nil, fmt.Errorf("node %q has no address; add it to the configuration", name)
	}
	within, cancel := context.WithTimeout(ctx, p.cfg.SilentAfter)
	defer cancel()
	session, err := p.dialer.QUIC(within, address)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			code := relay.Protocol
			if _, ok := errors.AsType[*RefusedError](err); !ok {
				code = relay.Forbidden
			}
			session.Close(code, err.Error())
		}
	}()
	if names := session.Peer().Names; !pki.IsNode(names, p.cfg.Fleet, string(name)) {
		return nil, fmt.Errorf("at %s: %w", address, badName(name, p.cfg.Fleet, names))
	}
	stream, err := session.Open(within)
	if err != nil {
		return nil, err
	}
	deadline, _ := within.Deadline()
	_ = stream.SetWriteDeadline(deadline)
	_ = stream.SetReadDeadline(deadline)
	h := hello{
		low: lowest, high: highest, purpose: why, fleet: p.cfg.Fleet, node: p.cfg.Node, dialled: name,
		store: p.cfg.Store, version: p.cfg.Version, incarnations: p.cfg.Incarnations(), plan: p.cfg.Plan(),
	}
	if _, err := stream.Write(h.append(nil)); err != nil {
		return nil, fmt.Errorf("write Hello to %s: %w", address, err)
	}
	l := &line{session: session, stream: stream, reader: newFrameReader(stream)}
	t, b, err := l.reader.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read Welcome from %s: %w", address, err)
	case t == typeRefuse:
		return nil, fmt.Errorf("refused at %s: %w", address, decodeRefusal(b))
	case t != typeWelcome:
		return nil, fmt.Errorf("%w: %#x in Welcome's place", ErrUnsupported, t)
	}
	if err := l.welcome.decode(b); err != nil {
		return nil, err
	}
	if err := p.cfg.expect(name, l.welcome.store); err != nil {
		return nil, err
	}
	_ = stream.SetWriteDeadline(time.Time{})
	_ = stream.SetReadDeadline(time.Time{})
	return l, nil
}

// errHeard ends an attempt that began before the node was there: its packets were lost, and it
// would wait ever longer to repeat them.
var errHeard = errors.New("the node was heard of; dialling anew")

// dial connects to the node.
func (n *node) dial(ctx context.Context) (*line, error) {
	select {
	case <-n.dialNow: // this is that dial
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-n.dialNow:
			cancel(errHeard)
		case <-done:
		}
	})
	l, err := n.p.dial(ctx, n.name, forRaft)
	close(done)
	wg.Wait()
	if err != nil && context.Cause(ctx) == errHeard {
		return nil, errHeard
	}
	return l, err
}

// connect connects, and sends what there is until the connection ends.
func (n *node) connect(ctx context.Context) error {
	l, err := n.dial(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotConnected, err)
	}
	n.p.counters.connects.Add(1)
	n.version.Store(l.welcome.version)
	n.p.cfg.Shown(n.name, l.welcome.incarnations)
	n.connected.Store(true)
	n.hear()
	err = n.send(ctx, l)
	n.connected.Store(false)
	if !n.alive.Load() {
		n.purge()
	}
	if err == io.EOF {
		err = errors.New("the other node closed the stream")
	}
	return err
}
