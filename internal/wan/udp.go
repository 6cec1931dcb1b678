package wan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// flowIdle is how long a flow stays when nothing passes.
const flowIdle = 2 * time.Minute

// A flow is one client's UDP address, with a port of its own toward the server.
type flow struct {
	client netip.AddrPort
	server *net.UDPConn
	lines  [directions]*line
	last   atomic.Int64 // when something came from the client, Unix nanoseconds
}

func (p *Path) runUDP(ctx context.Context, wg *sync.WaitGroup) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			continue // the kernel reports that an earlier datagram was refused
		}
		f, err := p.flow(ctx, wg, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		if err != nil {
			p.tallies[UDP][up].overflow()
			continue
		}
		f.last.Store(time.Now().UnixNano())
		p.pass(f, up, buf[:n])
	}
}

var errFlows = errors.New("too many flows")

// flow returns the flow of a client, a new one if it has none.
func (p *Path) flow(ctx context.Context, wg *sync.WaitGroup, client netip.AddrPort) (*flow, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.flows[client]; ok {
		return f, nil
	}
	if ctx.Err() != nil || len(p.flows) >= p.cfg.Flows {
		return nil, errFlows
	}
	server, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.cfg.Server))
	if err != nil {
		return nil, err
	}
	enlarge(server)
	f := &flow{client: client, server: server}
	p.flows[client] = f
	ctx, cancel := context.WithCancel(ctx)
	for d := range directions {
		f.lines[d] = newLine(p.cfg.QueueBytes)
		wg.Go(func() { f.lines[d].run(ctx, func(i item) bool { p.send(f, d, i.data); return true }) })
	}
	wg.Go(func() {
		defer cancel()
		p.readServer(ctx, f)
		p.forget(f)
	})
	return f, nil
}

// readServer carries what the server sends, until the flow's socket closes or it was idle.
func (p *Path) readServer(ctx context.Context, f *flow) {
	buf := make([]byte, 64<<10)
	last := time.Now()
	for ctx.Err() == nil {
		_ = f.server.SetReadDeadline(time.Now().Add(flowIdle))
		n, err := f.server.Read(buf)
		switch {
		case err == nil:
			last = time.Now()
			p.pass(f, down, buf[:n])
		case errors.Is(err, net.ErrClosed):
			return
		case time.Since(last) > flowIdle && time.Since(time.Unix(0, f.last.Load())) > flowIdle:
			return
		}
	}
}

func (p *Path) forget(f *flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.server.Close()
	if p.flows[f.client] == f {
		delete(p.flows, f.client)
	}
}

// pass sends one datagram on, now or when it is due. b is the caller's.
func (p *Path) pass(f *flow, d direction, b []byte) {
	p.pipes[UDP][d].datagram(p.tallies[UDP][d], f.lines[d], netip.AddrPort{}, b, func(b []byte) { p.send(f, d, b) })
}

// send puts one datagram on its last step, unless the way was cut meanwhile. The kernel's
// refusals are losses.
func (p *Path) send(f *flow, d direction, b []byte) {
	t := p.tallies[UDP][d]
	if p.pipes[UDP][d].cut() {
		t.lose()
		return
	}
	var err error
	if d == up {
		_, err = f.server.Write(b)
	} else {
		_, err = p.udp.WriteToUDPAddrPort(b, f.client)
	}
	if err != nil {
		t.lose()
		return
	}
	t.pass(len(b))
}
