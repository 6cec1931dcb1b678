package hub

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A gap is an entry: everyone sees it once, in its place.
func TestGap(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		a, b := read(t, h, live), read(t, h, live)
		synctest.Wait()
		a.drain()
		b.drain()
		up.publish(news, 5, 10)
		synctest.Wait()
		a.drain()
		up.set(func() { up.answer = &relay.End{Code: relay.Unavailable} })
		up.endAll(relay.End{Code: relay.LinkLost})
		synctest.Wait()
		up.publish(news, 5, 10)
		up.trim(news, at(1, 8))
		up.breakEpoch(news, 4)
		up.publish(news, 5, 10)
		up.set(func() { up.answer = nil })
		settle(time.Second)
		c := read(t, h, after(1, 3))
		synctest.Wait()
		for _, r := range []*reader{a, b, c} {
			if r.drain(); len(r.gaps) != 2 || r.gaps[0].Next != at(1, 8) || r.gaps[1].Next != at(4, 1) {
				t.Fatalf("gaps %v", r.gaps)
			}
			if r.at != at(4, 5) || r.extra.Load() > 0 {
				t.Fatalf("at %v, %d extra wakes", r.at, r.extra.Load())
			}
		}
	})
}

// A home that lost its past: everyone gets the gap, whoever comes later is placed in the new
// order.
func TestGapBack(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 100, 10)
		a, b := read(t, h, live), read(t, h, live)
		synctest.Wait()
		a.drain()
		b.drain()
		up.publish(news, 10, 10)
		synctest.Wait()
		a.drain()
		up.set(func() {
			delete(up.chans, news)
			for s := range up.open {
				s.end = &relay.End{Code: relay.LinkLost}
			}
		})
		up.publish(news, 5, 10)
		settle(6 * time.Second)
		for _, r := range []*reader{a, b} {
			if r.drain(); len(r.gaps) != 1 || r.gaps[0].Next != at(1, 1) || r.at != at(1, 5) {
				t.Fatalf("gaps %v, at %v", r.gaps, r.at)
			}
		}
		before := up.opened()
		c := read(t, h, after(1, 2))
		synctest.Wait()
		c.drain().want(1, 3, 5)
		if up.opened() != before {
			t.Fatal("the ring did not cover what it holds")
		}
		up.publish(news, 5, 10)
		synctest.Wait()
		c.drain().want(1, 3, 10)
		if a.drain(); a.at != at(1, 10) {
			t.Fatalf("at %v", a.at)
		}
	})
}

// An upstream that repeats itself, goes back, or leaves one out.
func TestMisbehaving(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		r.drain()
		up.publish(news, 5, 10)
		synctest.Wait()
		up.mu.Lock()
		l := up.chans[news]
		l.list[4].At = at(1, 3) // one position twice, another left out
		for s := range up.open {
			s.at = at(1, 2)
		}
		up.mu.Unlock()
		once := true
		up.set(func() {
			up.skew = func(f *relay.Frame) bool {
				lost := once && f.At == at(1, 7)
				once = once && !lost
				return !lost
			}
		})
		up.mu.Lock()
		l.list[4].At = at(1, 5)
		up.mu.Unlock()
		up.publish(news, 5, 10)
		settle(time.Second)
		r.drain().want(1, 1, 10)
		if s := h.Stats(); s.Repeated == 0 || s.Unjoined != 1 || len(r.gaps) > 0 {
			t.Fatalf("%+v, gaps %v", s, r.gaps)
		}
		// One that leaves it out for good: a gap is said for it.
		up.set(func() { up.skew = func(f *relay.Frame) bool { return f.At != at(1, 12) } })
		up.publish(news, 5, 10)
		settle(time.Second)
		r.drain()
		if len(r.gaps) != 1 || r.gaps[0].At != at(1, 11) || r.gaps[0].Next != at(1, 13) || r.at != at(1, 15) {
			t.Fatalf("gaps %v, at %v", r.gaps, r.at)
		}
	})
}

// P4: a barrier's answer is at or after the home's; one question serves those who asked before
// it was sent.
func TestBarrier(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		barrier := relay.SubscribeRequest{Channel: news, Barrier: true}
		l := read(t, h, live)
		synctest.Wait()
		l.drain()
		up.mu.Lock()
		lg := up.log(news) // acknowledged at home, not here yet
		for range 5 {
			lg.at = lg.at.Next()
			lg.list = append(lg.list, relay.Frame{Kind: relay.KindMessage, At: lg.at, Body: numbered(lg.at, 10)})
		}
		up.mute = true
		up.mu.Unlock()
		var rs []*reader
		for range 10 {
			rs = append(rs, read(t, h, barrier))
		}
		synctest.Wait()
		n := up.opened()
		if n > 1+queriesOpen {
			t.Fatalf("%d upstream subscriptions for 10 barriers", n)
		}
		for range 50 {
			rs = append(rs, read(t, h, barrier))
			synctest.Wait()
		}
		if up.opened() > 1+queriesOpen {
			t.Fatalf("%d upstream subscriptions for 60 barriers", up.opened())
		}
		up.set(func() { up.mute = false })
		synctest.Wait()
		up.publish(news, 1, 10)
		synctest.Wait()
		for _, r := range rs {
			if r.drain(); r.begun.Before(at(1, 5)) || r.at != at(1, 6) || r.extra.Load() > 0 {
				t.Fatalf("at %v, got %v", r.at, r.got)
			}
		}
		l.drain().want(1, 1, 6)
		if len(up.open) != 1 {
			t.Fatalf("%d open at rest", len(up.open))
		}
	})
}

// The first subscriber's barrier is the live subscription's own, and costs nothing more.
func TestBarrierFirst(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 5, 10)
		r := read(t, h, relay.SubscribeRequest{Channel: news, Barrier: true})
		synctest.Wait()
		if r.drain(); r.at != at(1, 5) || up.opened() != 1 || !up.opens[0].Barrier {
			t.Fatalf("at %v, opened %+v", r.at, up.opens)
		}
	})
}

// A question that fails is asked again.
func TestBarrierLost(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		l := read(t, h, live)
		synctest.Wait()
		l.drain()
		up.set(func() { up.answer = &relay.End{Code: relay.Unavailable} })
		r := read(t, h, relay.SubscribeRequest{Channel: news, Barrier: true})
		settle(10 * time.Second)
		if r.drain(); r.ok {
			t.Fatal("answered without the home")
		}
		up.set(func() { up.answer = nil })
		settle(6 * time.Second)
		if r.drain(); !r.ok {
			t.Fatal("not answered")
		}
	})
}

// The home's answer is ahead of the ring: what is up to it comes to the ring, and is skipped.
func TestBarrierAhead(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		l := read(t, h, live)
		synctest.Wait()
		l.drain()
		up.mu.Lock()
		lg := up.log(news) // acknowledged at home, and nobody was told
		for range 5 {
			lg.at = lg.at.Next()
			lg.list = append(lg.list, relay.Frame{Kind: relay.KindMessage, At: lg.at, Body: numbered(lg.at, 10)})
		}
		up.mu.Unlock()
		r := read(t, h, relay.SubscribeRequest{Channel: news, Barrier: true})
		synctest.Wait()
		if r.drain(); r.begun != at(1, 5) {
			t.Fatalf("begun at %v, want 1:5", r.begun)
		}
		up.publish(news, 3, 10)
		synctest.Wait()
		r.drain().want(1, 6, 8)
		l.drain().want(1, 1, 8)
	})
}
