package wan

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A conn is one TCP connection and its continuation to the server.
type conn struct {
	client *net.TCPConn
	cancel context.CancelFunc

	mu     sync.Mutex
	server *net.TCPConn // nil until dialled
	dead   bool
}

// reset ends both sides at once, with RST.
func (c *conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	c.cancel()
	_ = c.client.SetLinger(0)
	c.client.Close()
	if c.server != nil {
		_ = c.server.SetLinger(0)
		c.server.Close()
	}
}

func (p *Path) runTCP(ctx context.Context, wg *sync.WaitGroup) error {
	for {
		client, err := p.tcp.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		cctx, cancel := context.WithCancel(ctx)
		c := &conn{client: client, cancel: cancel}
		if !p.enter(ctx, c) {
			c.reset()
			continue
		}
		wg.Go(func() {
			p.carry(cctx, c)
			p.leave(c)
		})
	}
}

func (p *Path) enter(ctx context.Context, c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil || len(p.conns) >= p.cfg.Flows {
		p.tallies[TCP][up].overflow()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Path) leave(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// carry runs one connection until both directions have ended.
func (p *Path) carry(ctx context.Context, c *conn) {
	defer c.reset()
	pipes := &p.pipes[TCP]
	if !pipes[up].open(ctx) || !pipes[down].open(ctx) {
		return
	}
	var d net.Dialer
	s, err := d.DialContext(ctx, "tcp", p.cfg.Server.String())
	if err != nil {
		return
	}
	server := s.(*net.TCPConn)
	c.mu.Lock()
	c.server = server
	dead := c.dead
	c.mu.Unlock()
	if dead {
		server.Close()
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { pipes[up].pump(ctx, p.cfg.QueueBytes, p.tallies[TCP][up], server, c.client, c.reset) })
	wg.Go(func() { pipes[down].pump(ctx, p.cfg.QueueBytes, p.tallies[TCP][down], c.client, server, c.reset) })
	wg.Wait()
}
