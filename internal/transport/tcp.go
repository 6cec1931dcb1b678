package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stall is how long a write to a WebSocket's TCP connection may hold its caller.
	stall = 100 * time.Millisecond
	// maxCarry bounds what waits in memory for a WebSocket's peer that does not read: one
	// chunk, and control frames.
	maxCarry = 64 << 10
)

var errCarry = errors.New("the peer reads nothing: too many control frames wait")

// A tcpConn is a TCP connection under TLS, HTTP and WebSocket. Once it is patient, a Write that
// stalls keeps the rest in memory, where a goroutine goes on with it, and succeeds: neither TLS
// nor a WebSocket frame can go on after a write that was cut off, and a control frame must not
// wait for data. Who writes data asks settled first.
type tcpConn struct {
	net.Conn
	onClose func() // set at construction
	start   time.Time
	read    atomic.Int64 // time of the last bytes, since start

	closeOnce sync.Once

	mu       sync.Mutex
	patient  bool
	carry    []byte        // what a Write left; the carrier goroutine writes it
	held     int           // bytes of carry, and of what that goroutine writes; at most maxCarry
	carrying chan struct{} // closed when carry is empty again; nil: it is
	err      error         // of the carrier goroutine
}

func newTCPConn(c net.Conn, onClose func()) *tcpConn {
	return &tcpConn{Conn: c, onClose: onClose, start: time.Now()}
}

func (c *tcpConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.read.Store(int64(time.Since(c.start)))
	}
	return n, err
}

// silent returns how long nothing has been read.
func (c *tcpConn) silent() time.Duration {
	return time.Since(c.start) - time.Duration(c.read.Load())
}

// bePatient is called once, when the connection becomes a WebSocket.
func (c *tcpConn) bePatient() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patient = true
}

func (c *tcpConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.patient {
		c.mu.Unlock()
		return c.Conn.Write(p)
	}
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	if c.carrying != nil {
		defer c.mu.Unlock()
		if c.held+len(p) > maxCarry {
			return 0, errCarry
		}
		c.carry = append(c.carry, p...)
		c.held += len(p)
		return len(p), nil
	}
	c.mu.Unlock()

	_ = c.Conn.SetWriteDeadline(time.Now().Add(stall))
	n, err := c.Conn.Write(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carry = append([]byte(nil), p[n:]...)
	c.held = len(c.carry)
	c.carrying = make(chan struct{})
	_ = c.Conn.SetWriteDeadline(time.Time{})
	go c.carryOn() // ends with the carry, or when the connection is closed
	return len(p), nil
}

func (c *tcpConn) carryOn() {
	for {
		c.mu.Lock()
		p := c.carry
		c.carry = nil
		if len(p) == 0 {
			close(c.carrying)
			c.carrying = nil
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		_, err := c.Conn.Write(p)
		c.mu.Lock()
		c.held -= len(p)
		if err != nil {
			c.err = err
			close(c.carrying)
			c.carrying = nil
			c.mu.Unlock()
			_ = c.Close()
			return
		}
		c.mu.Unlock()
	}
}

// settled returns nil if nothing is carried, else a channel that is closed when that is so.
func (c *tcpConn) settled() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carrying
}

// SetDeadline and SetWriteDeadline leave a patient connection's writes to it.
func (c *tcpConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *tcpConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.patient {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *tcpConn) Close() error {
	err := c.Conn.Close()
	c.closeOnce.Do(func() {
		if c.onClose != nil {
			c.onClose()
		}
	})
	return err
}
