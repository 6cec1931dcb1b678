package relaytest

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A Reader consumes a subscription for a test, as the seam asks: Next after a wake, and again
// while it returns as much as it was allowed. It is for one goroutine.
type Reader struct {
	t    testing.TB
	sub  relay.Subscription
	woke chan struct{}

	wakes   atomic.Int64 // wakes that came
	allowed int64        // wakes that may have come
	pending []relay.Frame
	started bool
	ended   bool
	hungry  bool // the last Next returned as much as it was allowed
}

// Subscribe opens a subscription and closes it when the test ends.
func Subscribe(t testing.TB, u relay.Upstream, r relay.SubscribeRequest) *Reader {
	t.Helper()
	rd := &Reader{t: t, woke: make(chan struct{}, 1), allowed: 1}
	rd.sub = u.Subscribe(r, func() {
		rd.wakes.Add(1)
		select {
		case rd.woke <- struct{}{}:
		default:
		}
	})
	t.Cleanup(rd.Close)
	return rd
}

// Close closes the subscription, and checks that it was not woken too often.
func (r *Reader) Close() {
	if r.sub == nil {
		return
	}
	r.sub.Close()
	r.sub = nil
	if n := r.wakes.Load(); n > r.allowed {
		r.t.Errorf("woken %d times; wake may have come %d times", n, r.allowed)
	}
}

// Wakes returns how often wake came, and how often at most it may have come.
func (r *Reader) Wakes() (came, allowed int64) { return r.wakes.Load(), r.allowed }

// Pull calls Next once and returns what it gave. Bodies are lent until the next Pull.
func (r *Reader) Pull(maxBytes int) []relay.Frame {
	r.t.Helper()
	frames := r.sub.Next(nil, maxBytes)
	bytes := 0
	for i, f := range frames {
		if r.ended {
			r.t.Fatalf("frame %v after the End", f)
		}
		first := f.Kind == relay.KindOK || f.Kind == relay.KindEnd && i == 0
		if !r.started && !first {
			r.t.Fatalf("the first frame is %v, not an OK or an End", f)
		}
		if r.started && f.Kind == relay.KindOK {
			r.t.Fatalf("a second OK: %v", f)
		}
		r.started = true
		r.ended = f.Kind == relay.KindEnd
		bytes += len(f.Body)
	}
	r.hungry = bytes >= maxBytes
	if !r.hungry && !r.ended {
		r.allowed++
	}
	return frames
}

// Await waits for a wake.
func (r *Reader) Await() {
	r.t.Helper()
	select {
	case <-r.woke:
	case <-time.After(patience):
		r.t.Fatalf("no wake within %v", patience)
	}
}

// Frame returns the next frame, waiting for it. Its body is the caller's.
func (r *Reader) Frame() relay.Frame {
	r.t.Helper()
	for len(r.pending) == 0 {
		if r.ended {
			r.t.Fatal("no frame follows: the subscription has ended")
		}
		if !r.hungry {
			r.Await()
		}
		for _, f := range r.Pull(64 << 10) {
			f.Body = slices.Clone(f.Body)
			r.pending = append(r.pending, f)
		}
		if more := r.sub.Next(nil, 0); len(more) > 0 {
			r.t.Fatalf("Next with maxBytes 0 returned %v", more)
		}
	}
	f := r.pending[0]
	r.pending = r.pending[1:]
	return f
}

// Expect returns the next frame, which has to be of the kind given.
func (r *Reader) Expect(k relay.Kind) relay.Frame {
	r.t.Helper()
	f := r.Frame()
	if f.Kind != k {
		r.t.Fatalf("frame %s, want kind %d", Describe(f), k)
	}
	return f
}

// Code returns the next frame's code, which has to be an End.
func (r *Reader) Code() relay.Code {
	r.t.Helper()
	return r.Expect(relay.KindEnd).End.Code
}

// Messages returns the next n frames, which have to be messages of one epoch without holes.
func (r *Reader) Messages(n int) []relay.Frame {
	r.t.Helper()
	list := make([]relay.Frame, 0, n)
	for i := range n {
		f := r.Expect(relay.KindMessage)
		if i > 0 && f.At != list[i-1].At.Next() {
			r.t.Fatalf("message %v after %v", f.At, list[i-1].At)
		}
		list = append(list, f)
	}
	return list
}
