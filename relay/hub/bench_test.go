package hub

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// faucet gives the messages that a benchmark asks for.
type faucet struct {
	mu   sync.Mutex
	wake func()
	ok   bool
	at   relay.Position
	owed int
	body []byte
}

func (f *faucet) Publish(relay.Publication, func(relay.Position, relay.End)) error { return nil }
func (f *faucet) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	f.wake = wake
	wake()
	return f
}
func (f *faucet) Close() {}
func (f *faucet) Next(dst []relay.Frame, most int) []relay.Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ok {
		f.ok = true
		f.at = at(1, 0)
		dst = append(dst, relay.Frame{Kind: relay.KindOK, At: f.at})
	}
	for ; f.owed > 0 && most > 0; f.owed-- {
		f.at = f.at.Next()
		dst = append(dst, relay.Frame{Kind: relay.KindMessage, At: f.at, Body: f.body})
		most -= len(f.body)
	}
	return dst
}

func (f *faucet) give(n int) {
	f.mu.Lock()
	f.owed += n
	f.mu.Unlock()
	f.wake()
}

// BenchmarkFanOut delivers one message to so many subscribers: append, wake, one Next each, all
// read by one goroutine.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		for _, at := range []int{1, 32} {
			b.Run(fmt.Sprintf("subs=%d/at_once=%d", n, at), func(b *testing.B) { fanOut(b, n, at) })
		}
	}
}

func fanOut(b *testing.B, n, atOnce int) {
	up := &faucet{body: make([]byte, 128)}
	h := New(Config{Upstream: up})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	ready := make(chan relay.Subscription, n)
	subs := make([]relay.Subscription, n)
	var mu sync.Mutex
	mu.Lock()
	for i := range subs {
		subs[i] = h.Subscribe(live, func() {
			mu.Lock()
			s := subs[i]
			mu.Unlock()
			ready <- s
		})
	}
	mu.Unlock()
	frames := make([]relay.Frame, 0, 64)
	for range n {
		frames = (<-ready).Next(frames[:0], 64<<10)
	}
	b.ReportAllocs()
	for b.Loop() {
		up.give(atOnce)
		for left := n * atOnce; left > 0; {
			frames = (<-ready).Next(frames[:0], 64<<10)
			left -= len(frames)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n*atOnce), "ns/delivery")
	stop()
	<-done
}
