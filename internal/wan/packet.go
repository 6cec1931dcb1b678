package wan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A PacketConn is a UDP socket at a place, in process. Its addresses are *net.UDPAddr.
type PacketConn struct {
	// Set at construction.
	place *Place
	at    netip.AddrPort
	kind  string
	ctx   context.Context // ends with Close
	end   context.CancelFunc
	work  sync.WaitGroup // the goroutines of lines
	wake  chan struct{}  // one slot
	own   counter

	// Guarded by mu.
	mu       sync.Mutex
	lines    map[*pipe]*line
	queue    []packet
	bytes    int // invariant: the sum of len(queue[i].data)
	deadline time.Time
	changed  chan struct{} // closed when the deadline changes
}

var _ net.PacketConn = (*PacketConn)(nil)

type packet struct {
	from netip.AddrPort
	data []byte
}

// ListenPacket opens a socket; port 0: one that is free. kind is what the traffic to it is counted
// as, and what comes from it where the receiver has no kind; empty: "udp".
func (p *Place) ListenPacket(port uint16, kind string) (*PacketConn, error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	at, err := p.take(port, func(at netip.AddrPort) bool { return n.sockets[at] != nil })
	if err != nil {
		return nil, err
	}
	c := &PacketConn{
		place: p, at: at, kind: kind,
		wake: make(chan struct{}, 1), lines: make(map[*pipe]*line), changed: make(chan struct{}),
	}
	c.ctx, c.end = context.WithCancel(n.ctx)
	n.sockets[at] = c
	return c, nil
}

// WriteTo sends one datagram to a socket's address. That nobody listens there is no error.
func (c *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	const largest = 65507 // as in UDP over IPv4
	if len(b) > largest {
		return 0, fmt.Errorf("wan: datagram of %d bytes; UDP takes %d at most", len(b), largest)
	}
	var at netip.AddrPort
	n := c.place.net
	if u, ok := to.(*net.UDPAddr); ok {
		at = netip.AddrPortFrom(u.AddrPort().Addr().Unmap(), uint16(u.Port))
	} else if _, named, err := n.resolve(to.String()); err != nil {
		return 0, err
	} else {
		at = named
	}
	n.mu.Lock()
	place, r := n.hosts[at.Addr()], n.sockets[at]
	n.mu.Unlock()
	if place == nil {
		return 0, fmt.Errorf("wan: send to %v: no such place", to)
	}
	kind := c.kind
	if r != nil && r.kind != "" {
		kind = r.kind
	}
	p := n.pipe(c.place.name, place.name, UDP)
	t := tally{&c.own, p.kind(kind)}
	if r == nil {
		t.lose()
		return len(b), nil
	}
	if l := r.line(p, t); l != nil {
		p.datagram(t, l, c.at, b, func(b []byte) { r.deliver(packet{c.at, append([]byte(nil), b...)}, t) })
	} else {
		t.lose()
	}
	return len(b), nil
}

// line returns what is under way to c through p; nil: c is closed.
func (c *PacketConn) line(p *pipe, t tally) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil
	}
	l := c.lines[p]
	if l == nil {
		l = newLine(c.place.net.cfg.QueueBytes)
		c.lines[p] = l
		c.work.Go(func() {
			l.run(c.ctx, func(i item) bool {
				if p.cut() {
					t.lose()
				} else {
					c.deliver(packet{i.from, i.data}, t)
				}
				return true
			})
		})
	}
	return l
}

// deliver puts one datagram where ReadFrom finds it.
func (c *PacketConn) deliver(p packet, t tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		t.lose()
		return
	}
	if c.bytes > 0 && c.bytes+len(p.data) > c.place.net.cfg.QueueBytes {
		t.overflow()
		return
	}
	c.queue = append(c.queue, p)
	c.bytes += len(p.data)
	t.pass(len(p.data))
	poke(c.wake)
}

// ReadFrom takes the next datagram; what of it does not fit into b is lost, as with UDP.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, changed := c.deadline, c.changed
		var late <-chan time.Time
		if !deadline.IsZero() {
			wait := time.Until(deadline)
			if wait <= 0 {
				c.mu.Unlock()
				return 0, nil, os.ErrDeadlineExceeded
			}
			late = time.After(wait)
		}
		if c.ctx.Err() == nil && len(c.queue) > 0 {
			p := c.queue[0]
			c.queue[0] = packet{}
			c.queue = c.queue[1:]
			c.bytes -= len(p.data)
			if len(c.queue) > 0 {
				poke(c.wake) // for another reader
			}
			c.mu.Unlock()
			return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-changed:
		case <-late:
		case <-c.ctx.Done():
			return 0, nil, net.ErrClosed
		}
	}
}

// Close closes the socket; what is under way to it is lost.
func (c *PacketConn) Close() error {
	n := c.place.net
	n.mu.Lock()
	if n.sockets[c.at] == c {
		delete(n.sockets, c.at)
	}
	n.mu.Unlock()
	c.mu.Lock() // no line begins after this
	c.end()
	c.queue, c.bytes = nil, 0
	c.mu.Unlock()
	c.work.Wait()
	return nil
}

// LocalAddr is the socket's address.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

// SetReadDeadline ends waiting reads at t; zero: never.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// SetDeadline is SetReadDeadline: writes do not wait.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes do not wait.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing: NetworkConfig.QueueBytes is the bound. QUIC asks for it.
func (c *PacketConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing. QUIC asks for it.
func (c *PacketConn) SetWriteBuffer(int) error { return nil }
