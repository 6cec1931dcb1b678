package wan

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
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
		p.overflow.Add(1)
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
	if !p.open(ctx, up) || !p.open(ctx, down) {
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
	wg.Go(func() { p.pump(ctx, c, server, c.client, up) })
	wg.Go(func() { p.pump(ctx, c, c.client, server, down) })
	wg.Wait()
}

// pump carries one direction, FIN included. A failure ends the connection.
func (p *Path) pump(ctx context.Context, c *conn, dst, src *net.TCPConn, d direction) {
	l := newLine(p.cfg.QueueBytes)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		l.run(ctx, func(b []byte) bool {
			if !p.open(ctx, d) {
				return false
			}
			if len(b) == 0 { // FIN
				_ = dst.CloseWrite()
				return false
			}
			if _, err := dst.Write(b); err != nil {
				c.reset()
				return false
			}
			return true
		})
	})
	for {
		buf := make([]byte, 16<<10)
		n, err := src.Read(buf)
		w, _ := p.way(TCP, d)
		due := time.Now().Add(w.Delay)
		if n > 0 && !l.addWait(ctx, buf[:n], due) {
			return
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && err != io.EOF {
				c.reset()
			}
			l.addWait(ctx, []byte{}, due)
			return
		}
	}
}

// open waits while the direction is cut; false: ctx is done.
func (p *Path) open(ctx context.Context, d direction) bool {
	for {
		w, changed := p.way(TCP, d)
		if !w.Cut {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
