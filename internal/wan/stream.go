package wan

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// backlog is how many TCP connections wait to be accepted; further ones are refused.
const backlog = 128

// A Listener accepts TCP connections at a place, in process.
type Listener struct {
	place *Place
	at    netip.AddrPort
	kind  string
	queue chan *stream
	own   counter
	ctx   context.Context
	end   context.CancelFunc
}

var _ net.Listener = (*Listener)(nil)

// Listen opens a listener; port 0: one that is free. kind is what the traffic of its connections
// is counted as; empty: "tcp".
func (p *Place) Listen(port uint16, kind string) (*Listener, error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	at, err := p.take(port, func(at netip.AddrPort) bool { return n.listeners[at] != nil })
	if err != nil {
		return nil, err
	}
	l := &Listener{place: p, at: at, kind: kind, queue: make(chan *stream, backlog)}
	l.ctx, l.end = context.WithCancel(n.ctx)
	n.listeners[at] = l
	return l, nil
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	select {
	case s := <-l.queue:
		return s.ends[1].app, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the listener, and resets what was not accepted.
func (l *Listener) Close() error {
	n := l.place.net
	n.mu.Lock()
	if n.listeners[l.at] == l {
		delete(n.listeners, l.at)
	}
	l.end()
	n.mu.Unlock() // nothing comes into the queue after this
	for {
		select {
		case s := <-l.queue:
			s.reset()
		default:
			return nil
		}
	}
}

// Addr is the listener's address.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// A stream is one TCP connection, in process: at each end a pipe into the network.
type stream struct {
	from, to string
	ends     [directions]struct{ app, net net.Conn }
	dead     atomic.Bool // reset before its end
	cancel   context.CancelFunc
	once     sync.Once
}

// reset ends both directions at once; what is under way is lost.
func (s *stream) reset() { s.finish(true) }

func (s *stream) finish(dead bool) {
	s.once.Do(func() {
		s.dead.Store(dead)
		s.cancel()
		for _, e := range s.ends {
			e.net.Close()
		}
	})
}

// DialContext opens a TCP connection to PLACE:PORT or IP:PORT: after a round trip, or when a cut
// has healed, or when ctx ends, with its error. network is "tcp" or "tcp4".
func (p *Place) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	n := p.net
	if network != "tcp" && network != "tcp4" {
		return fail(net.UnknownNetworkError(network))
	}
	place, at, err := n.resolve(address)
	if err != nil {
		return fail(err)
	}
	pipes := [directions]*pipe{n.pipe(p.name, place.name, TCP), n.pipe(place.name, p.name, TCP)}
	if err := n.step(ctx, pipes[up]); err != nil {
		return fail(err)
	}
	s, err := n.connect(p, place, at, pipes)
	if back := n.step(ctx, pipes[down]); back != nil {
		if s != nil {
			s.reset()
		}
		err = back
	}
	if err != nil {
		return fail(err)
	}
	return s.ends[0].app, nil
}

// step waits as long as one packet of a handshake takes.
func (n *Network) step(ctx context.Context, p *pipe) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	if f, ok := p.turn(ctx, 40); ok && p.open(ctx) { // 40 bytes: a SYN
		timer := time.NewTimer(time.Until(f.due))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if n.ctx.Err() != nil {
		return net.ErrClosed
	}
	return ctx.Err()
}

// connect joins the two ends, if somebody listens.
func (n *Network) connect(from, to *Place, at netip.AddrPort, pipes [directions]*pipe) (*stream, error) {
	n.mu.Lock()
	l := n.listeners[at]
	n.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	tallies := [directions]tally{{&l.own, pipes[up].kind(l.kind)}, {&l.own, pipes[down].kind(l.kind)}}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[at] != l {
		return nil, syscall.ECONNREFUSED
	}
	from.port = max(from.port+1, 32768) // a client's port may be one of a listener: nobody dials it
	client := net.TCPAddrFromAddrPort(netip.AddrPortFrom(from.host, from.port))
	s := &stream{from: from.name, to: to.name}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(n.ctx)
	for d := range s.ends {
		app, inner := net.Pipe()
		local, remote := net.Addr(client), net.Addr(l.Addr())
		if direction(d) == down {
			local, remote = remote, local
		}
		s.ends[d].app, s.ends[d].net = &streamConn{app, s, local, remote}, inner
	}
	select {
	case l.queue <- s:
	default:
		tallies[up].overflow()
		s.cancel()
		return nil, syscall.ECONNREFUSED
	}
	n.streams[s] = struct{}{}
	n.work.Go(func() {
		var both sync.WaitGroup
		for d := range s.ends {
			both.Go(func() {
				pipes[d].pump(ctx, n.cfg.QueueBytes, tallies[d], s.ends[1-d].net, s.ends[d].net, s.reset)
			})
		}
		stop := context.AfterFunc(ctx, s.reset)
		both.Wait()
		stop()
		s.finish(false)
		n.mu.Lock()
		delete(n.streams, s)
		n.mu.Unlock()
	})
	return s, nil
}

// A streamConn is one end of a connection as its user sees it.
type streamConn struct {
	net.Conn
	stream        *stream
	local, remote net.Addr
}

func (c *streamConn) LocalAddr() net.Addr  { return c.local }
func (c *streamConn) RemoteAddr() net.Addr { return c.remote }

func (c *streamConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) && c.stream.dead.Load() {
		err = syscall.ECONNRESET
	}
	return n, err
}

func (c *streamConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, io.ErrClosedPipe) && c.stream.dead.Load() {
		err = syscall.ECONNRESET
	}
	return n, err
}
