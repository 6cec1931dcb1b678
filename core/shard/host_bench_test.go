package shard_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// BenchmarkHost is the way of 1 KB publishes from Publish to their answers, one voter, stored in
// memory, without the machine that runs them: what a host itself costs.
func BenchmarkHost(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			d := newDrive(b, "a")
			d.create("a")
			a := d.node("a")
			body := relaytest.Body(string(bytes.Repeat([]byte{'x'}, 1000)), "")
			answered := 0
			answer := func(relay.Position, relay.End) { answered++ }
			var host, total time.Duration
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				begin := time.Now()
				var other time.Duration
				for range batch {
					must(b, a.host.Publish(1, relay.Publication{Channel: "demo:x", Subject: "s", Body: body}, answer))
				}
				n += batch
				for {
					w := a.host.Take()
					if len(w.Writes)+len(w.Applies) == 0 {
						break
					}
					for _, x := range w.Writes {
						t := time.Now()
						must(b, a.store.Write(x))
						must(b, a.store.Sync())
						other += time.Since(t)
						a.host.Written(x)
					}
					for _, x := range w.Applies {
						t := time.Now()
						v := a.store.Begin(x.Replica)
						must(b, a.machine.Run(x, v))
						must(b, v.Commit())
						x.Answer()
						other += time.Since(t)
						a.host.Applied(x)
					}
				}
				took := time.Since(begin)
				total += took
				host += took - other
				if n%(100*1000) < batch { // keep the store small
					b.StopTimer()
					must(b, a.store.Flush())
					a.host.Flushed()
					b.StartTimer()
				}
			}
			if answered != n {
				b.Fatalf("%d of %d were answered", answered, n)
			}
			b.ReportMetric(float64(host.Nanoseconds())/float64(n), "ns-host/publish")
			b.ReportMetric(float64(total.Nanoseconds())/float64(n), "ns/publish")
		})
	}
}

// BenchmarkTick is what 3,000 groups at rest cost a tick.
func BenchmarkTick(b *testing.B) {
	d := newDrive(b, "a")
	a := d.node("a")
	for i := range 3000 {
		g := &shard.Genesis{Descriptor: shard.Descriptor{Shard: shard.ID(i + 1), Class: shard.Region,
			Members: []shard.Member{{Number: 1, Node: "a", Role: shard.Voter}}}, Time: d.now}
		must(b, a.host.Create(g))
	}
	d.run()
	d.ticks(40)
	for b.Loop() {
		a.host.Tick()
		a.host.Take()
	}
}
