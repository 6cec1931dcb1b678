package wan

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// pump carries one direction of a TCP connection from src to dst, its end included. A failure
// resets the connection.
func (p *pipe) pump(ctx context.Context, bound int, t tally, dst, src net.Conn, reset func()) {
	l := newLine(bound)
	sent := make(chan struct{})
	defer func() { <-sent }()
	go func() {
		defer close(sent)
		l.run(ctx, func(i item) bool {
			if !p.open(ctx) {
				return false
			}
			if len(i.data) == 0 { // FIN
				closeWrite(dst)
				return false
			}
			if _, err := dst.Write(i.data); err != nil {
				reset()
				return false
			}
			t.pass(len(i.data))
			return true
		})
	}()
	for {
		buf := make([]byte, 16<<10)
		n, err := src.Read(buf)
		f, ok := p.turn(ctx, n)
		if !ok {
			return
		}
		flip(buf, f.flip)
		if n > 0 && !l.addWait(ctx, buf[:n], f.due) {
			return
		}
		if err != nil {
			if ctx.Err() == nil && !ended(err) {
				reset()
			}
			l.addWait(ctx, []byte{}, f.due)
			return
		}
	}
}

// ended reports whether a read failed because a side closed, and not because of a fault.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// closeWrite ends what goes to c, and all of it if it has no halves.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.Close()
}

// turn waits until n bytes have room in the queue before the bandwidth; false: ctx is done.
func (p *pipe) turn(ctx context.Context, n int) (fate, bool) {
	for {
		f, wait := p.stream(n)
		if wait == 0 {
			return f, true
		}
		_, changed := p.now()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return f, false
		}
	}
}

// open waits while the pipe is cut; false: ctx is done.
func (p *pipe) open(ctx context.Context) bool {
	for {
		w, changed := p.now()
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
