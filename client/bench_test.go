package client_test

import (
	"sync"
	"testing"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

// BenchmarkPublishAsync is one client's pipelined publishes of 128 B, to the acknowledgement, over
// WebTransport on loopback; client, relay and home share the machine.
func BenchmarkPublishAsync(b *testing.B) {
	r := newRig(b, nil)
	c := r.dial(nil)
	ctx := b.Context()
	m := client.Message{Payload: make([]byte, 128)}
	var wg sync.WaitGroup
	b.ReportAllocs()
	for b.Loop() {
		wg.Add(1)
		if err := c.PublishAsync(ctx, "demo:b", m, func(_ relay.Position, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		}); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// BenchmarkReceive reads 100,000 messages of 128 B that stand already, in one subscription.
func BenchmarkReceive(b *testing.B) {
	const count = 100_000
	r := newRig(b, nil)
	c := r.dial(nil)
	ctx := b.Context()
	m := client.Message{Payload: make([]byte, 128)}
	var wg sync.WaitGroup
	for range count {
		wg.Add(1)
		if err := c.PublishAsync(ctx, "demo:b", m, func(relay.Position, error) { wg.Done() }); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for e, err := range c.Subscribe(ctx, "demo:b", client.SubscribeOptions{From: first}) {
			if err != nil {
				b.Fatal(err)
			}
			if _, ok := e.(*client.Message); ok {
				if n++; n%count == 0 {
					break
				}
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
}
