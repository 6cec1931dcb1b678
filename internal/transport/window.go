package transport

import (
	"context"
	"sync"

	"github.com/quic-go/quic-go"
)

// windows lends receive window to connections out of one budget for the process.
type windows struct {
	budget uint64 // set at construction

	mu     sync.Mutex
	lent   uint64
	denied uint64
}

type guestKey struct{}

// guestOf returns the guest of a connection's or a request's context.
func guestOf(ctx context.Context) *guest {
	g, _ := ctx.Value(guestKey{}).(*guest)
	return g
}

// grow is quic.Config's AllowConnectionWindowIncrease.
func (w *windows) grow(conn *quic.Conn, delta uint64) bool {
	return w.lend(guestOf(conn.Context()), delta)
}

func (w *windows) lend(g *guest, delta uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g == nil || g.window == windowClosed || w.lent+delta > w.budget {
		w.denied++
		return false
	}
	w.lent += delta
	g.window += delta
	return true
}

const windowClosed = ^uint64(0)

// release takes back what a guest was lent, for good.
func (w *windows) release(g *guest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.window != windowClosed {
		w.lent -= g.window
		g.window = windowClosed
	}
}
