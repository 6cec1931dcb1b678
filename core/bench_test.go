package core

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// BenchmarkPublish publishes messages of 100 B, 256 unanswered at a time, and reports how many
// a second that makes.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name     string
		channels int
		once     bool
		key      bool
	}{
		{"one channel", 1, false, false},
		{"one channel, producer", 1, true, false},
		{"1000 channels, producers", 1000, true, false},
		{"one channel, keys", 1, false, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			home, err := NewBare(BareConfig{Namespaces: map[relay.Namespace]channel.Policy{
				"demo": {Age: 24 * time.Hour, Count: 200_000, Bytes: 1 << 30}}})
			if err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			var running sync.WaitGroup
			running.Go(func() { home.Run(ctx) })
			publications := make([]relay.Publication, c.channels)
			for i := range publications {
				p := &publications[i]
				p.Channel = relay.Channel(fmt.Sprintf("demo:channel-%d", i))
				p.Subject = "alice"
				p.Body = relaytest.Body(string(make([]byte, 98)), "")
				if c.key {
					p.Body = relaytest.Body(string(make([]byte, 98)), "key")
				}
				if c.once {
					p.Producer = relay.ProducerOf("alice", string(p.Channel))
				}
			}
			tokens := make(chan struct{}, 256)
			answer := func(_ relay.Position, end relay.End) {
				if end.Code != relay.Done {
					b.Error(end.Code, end.Detail)
				}
				<-tokens
			}
			b.ReportAllocs()
			start, n := time.Now(), 0
			for b.Loop() {
				p := &publications[n%c.channels]
				if c.once {
					p.N++
				}
				n++
				tokens <- struct{}{}
				if err := home.Publish(*p, answer); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(tokens) {
				tokens <- struct{}{}
			}
			b.ReportMetric(float64(n)/time.Since(start).Seconds(), "publishes/s")
		})
	}
}
