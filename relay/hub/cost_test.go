package hub

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A delivery allocates nothing.
func TestNextAllocates(t *testing.T) {
	up := newHome()
	h := New(Config{Upstream: up, RingBytes: 8 << 20})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	woken := make(chan struct{}, 2)
	s := h.Subscribe(live, func() { woken <- struct{}{} })
	frames := make([]relay.Frame, 0, 256)
	<-woken
	frames = s.Next(frames[:0], 1<<20)
	n := 0
	allocs := testing.AllocsPerRun(100, func() {
		frames = s.Next(frames[:0], 1<<20)
		n += len(frames)
	})
	if allocs > 0 {
		t.Errorf("an empty Next allocates %v times", allocs)
	}
	up.publish(news, 30_000, 16)
	for h.Stats().Messages < 30_000 {
		time.Sleep(time.Millisecond)
	}
	// The count is the process's: a worker that still moves messages is counted too, so the
	// least of some rounds is Next's own.
	for range 5 {
		n = 0
		allocs = testing.AllocsPerRun(50, func() {
			frames = s.Next(frames[:0], 2000)
			n += len(frames)
		})
		if allocs == 0 {
			break
		}
	}
	if allocs > 0 || n < 100 {
		t.Errorf("a Next of %d frames allocates %v times", n/50, allocs)
	}
	stop()
	<-done
}

func resting() (goroutines int, heap int64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int64(m.HeapAlloc)
}

// quiet is an Upstream with next to no memory of its own, to measure the hub's.
type quiet struct{}

type quietSub struct{ told bool }

func (q *quiet) Publish(relay.Publication, func(relay.Position, relay.End)) error { return nil }
func (q *quiet) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	wake()
	return &quietSub{}
}
func (s *quietSub) Next(dst []relay.Frame, most int) []relay.Frame {
	if s.told {
		return dst
	}
	s.told = true
	return append(dst, relay.Frame{Kind: relay.KindOK, At: at(1, 0)})
}
func (s *quietSub) Close() {}

// At rest, goroutines do not grow with subscriptions or channels, and each costs few bytes.
func TestAtRest(t *testing.T) {
	const n = many
	for _, c := range []struct {
		name     string
		channels int
		most     int64 // bytes each
	}{{"one channel", 1, 400}, {"a channel each", n, 1000}} {
		t.Run(c.name, func(t *testing.T) {
			names := make([]relay.Channel, c.channels)
			for i := range names {
				names[i] = relay.Channel(fmt.Sprintf("chat:%d", i))
			}
			subs := make([]relay.Subscription, n)
			h := New(Config{Upstream: &quiet{}})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { h.Run(ctx); close(done) }()
			var woken atomic.Int64
			wake := func() { woken.Add(1) }
			warm := h.Subscribe(relay.SubscribeRequest{Channel: "chat:warm"}, wake)
			for woken.Load() < 1 {
				runtime.Gosched()
			}
			warm.Next(nil, 1)
			goroutines, heap := resting()
			for i := range subs {
				subs[i] = h.Subscribe(relay.SubscribeRequest{Channel: names[i%len(names)]}, wake)
			}
			for woken.Load() < n+1 {
				time.Sleep(time.Millisecond)
			}
			buf := make([]relay.Frame, 0, 8)
			for _, s := range subs {
				if f := s.Next(buf, 1); len(f) != 1 || f[0].Kind != relay.KindOK {
					t.Fatalf("first frame %+v", f)
				}
			}
			g, m := resting()
			each := (m - heap) / n
			t.Logf("%d subscriptions on %d channels: %d goroutines before, %d after; %d B each", n, c.channels, goroutines, g, each)
			if g > goroutines {
				t.Errorf("%d goroutines more", g-goroutines)
			}
			if each > c.most {
				t.Errorf("%d B for each subscription, want at most %d", each, c.most)
			}
			for _, s := range subs {
				s.Close()
			}
			stop()
			<-done
		})
	}
}

// What is lent stays as it is until the next call, whatever the ring does meanwhile, and counts.
func TestLent(t *testing.T) {
	bubble(t, Config{RingBytes: 16 << 10}, func(t *testing.T, h *Hub, up *home) {
		r, fast := read(t, h, live), read(t, h, live)
		synctest.Wait()
		r.drain()
		up.publish(news, 10, 1000)
		synctest.Wait()
		r.owed.Store(true)
		lent := r.sub.Next(nil, 1<<20)
		if len(lent) != 10 {
			t.Fatalf("%d frames", len(lent))
		}
		for range 20 {
			up.publish(news, 50, 1000)
			synctest.Wait()
			fast.drain()
		}
		for i := range lent {
			if err := sayWhere(&lent[i]); err != nil {
				t.Fatal(err)
			}
		}
		held := h.Stats().HeldBytes
		if held < 10_000 || held > 64<<10 {
			t.Fatalf("%d bytes held for 10,000 lent", held)
		}
		for i := range lent {
			r.check(&lent[i])
		}
		r.drain().want(1, 1, 1010)
		fast.drain().want(1, 1, 1010)
		if held := h.Stats().HeldBytes; held != 0 {
			t.Fatalf("%d bytes held at rest", held)
		}
		r.sub.Close()
		fast.sub.Close()
		settle(11 * time.Second)
		if s := h.Stats(); s.RingBytes != 0 {
			t.Fatalf("%d bytes of rings left", s.RingBytes)
		}
	})
}

// All rings together stay within the budget; the least recently used goes first.
func TestBudget(t *testing.T) {
	bubble(t, Config{Budget: 256 << 10}, func(t *testing.T, h *Hub, up *home) {
		const n = 20
		name := func(i int) relay.Channel { return relay.Channel(fmt.Sprint("chat:", i)) }
		var rs []*reader
		for i := range n {
			rs = append(rs, read(t, h, relay.SubscribeRequest{Channel: name(i)}))
			synctest.Wait()
			rs[i].drain()
		}
		for i := range n {
			up.publish(name(i), 30, 1000)
			synctest.Wait()
			rs[i].drain()
			up.publish(name(0), 1, 1000) // in use all the time
			synctest.Wait()
			rs[0].drain()
			if used := h.Stats().RingBytes; used > 256<<10 {
				t.Fatalf("%d bytes of rings", used)
			}
		}
		ring := func(i int) int64 {
			tp := h.shard(name(i)).topics[name(i)]
			tp.mu.Lock()
			defer tp.mu.Unlock()
			return tp.ring.bytes
		}
		if tp := h.shard(name(0)).topics[name(0)]; tp.ring.tail != 0 {
			t.Fatalf("the ring in use lost %d entries", tp.ring.tail)
		}
		if ring(0) < 30_000 || ring(n-1) < 30_000 || ring(1) != 0 || ring(2) != 0 {
			var all []int64
			for i := range n {
				all = append(all, ring(i))
			}
			t.Fatalf("rings %v: those in use should stay, the oldest should go", all)
		}
		if h.Stats().Evicted == 0 {
			t.Fatal("nothing was counted")
		}
		// Whoever comes back to a ring that went loses nothing.
		r := read(t, h, relay.SubscribeRequest{Channel: name(1), From: relay.Start{Kind: relay.StartAfter, After: at(1, 5)}})
		synctest.Wait()
		r.drain().want(1, 6, 30)
	})
}
