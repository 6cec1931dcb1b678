package hub

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// P2, P4, P6: many subscribers, one upstream subscription, everything after the OK, in order.
func TestLive(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 3, 10)
		a, b := read(t, h, live), read(t, h, live)
		synctest.Wait()
		if a.wakes.Load() != 1 {
			t.Fatalf("%d wakes for the first frame, want 1", a.wakes.Load())
		}
		a.drain()
		b.drain()
		if a.at != at(1, 3) || b.head != at(1, 3) {
			t.Fatalf("begun at %v with head %v, want 1:3", a.at, b.head)
		}
		up.publish(news, 2, 10)
		synctest.Wait()
		a.drain().want(1, 4, 5)
		c := read(t, h, live)
		synctest.Wait()
		c.drain()
		up.publish(news, 1000, 100)
		synctest.Wait()
		a.drain().want(1, 4, 1005)
		b.drain().want(1, 4, 1005)
		c.drain().want(1, 6, 1005)
		if up.opened() != 1 {
			t.Fatalf("%d upstream subscriptions, want 1", up.opened())
		}
	})
}

// A wake comes once for each Next that returned less than allowed, and for no other.
func TestWakeOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		r.drain()
		for range 5 {
			up.publish(news, 1, 10)
			synctest.Wait()
		}
		if n := r.wakes.Load(); n != 2 {
			t.Fatalf("%d wakes, want 2: the first frame, the first message", n)
		}
		if !r.next(1) {
			t.Fatal("Next gave nothing")
		}
		up.publish(news, 1, 10)
		synctest.Wait()
		if n := r.wakes.Load(); n != 2 {
			t.Fatalf("woken though Next had given all allowed: %d", n)
		}
		r.drain().want(1, 1, 6)
	})
}

// After a loss the upstream subscription is opened anew after the head; subscribers hear of it.
func TestResume(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		r.drain()
		up.publish(news, 10, 10)
		up.set(func() { up.answer = &relay.End{Code: relay.Unavailable} })
		up.endAll(relay.End{Code: relay.LinkLost})
		settle(20 * time.Second)
		up.publish(news, 10, 10)
		if h.Stats().Lost != 1 {
			t.Fatalf("Lost is %d, want 1", h.Stats().Lost)
		}
		tries := up.opened()
		if tries < 8 || tries > 40 {
			t.Fatalf("%d attempts in 20 s", tries)
		}
		r.drain()
		late := read(t, h, live) // answered at once: the head is known
		synctest.Wait()
		if late.drain(); !late.ok {
			t.Fatal("no OK during a loss")
		}
		up.set(func() { up.answer = nil })
		settle(6 * time.Second)
		r.drain().want(1, 1, 20)
		late.drain().want(1, int(late.got[0].Seq), 20)
		if !slices.Equal(r.states, []relay.State{relay.Lost, relay.Restored}) {
			t.Fatalf("states %v", r.states)
		}
		if !slices.Equal(late.states, r.states) {
			t.Fatalf("states of the one who came late: %v", late.states)
		}
	})
}

// RetryAfter is honoured.
func TestRetryAfter(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		read(t, h, live)
		synctest.Wait()
		up.endAll(relay.End{Code: relay.Busy, RetryAfter: 7 * time.Second})
		settle(6990 * time.Millisecond)
		if up.opened() != 1 {
			t.Fatal("opened anew before RetryAfter")
		}
		settle(100 * time.Millisecond)
		if up.opened() != 2 {
			t.Fatal("not opened anew after RetryAfter")
		}
	})
}

// An End with a deadline: the successor first, the overlap once, nobody hears of it.
func TestMakeBeforeBreak(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		up.publish(news, 3, 10)
		up.set(func() { up.mute = true })
		up.endAll(relay.End{Code: relay.GoingAway, Deadline: 5 * time.Second})
		settle(time.Second)
		if up.opened() != 2 || len(up.open) != 2 {
			t.Fatalf("%d opened, %d open, want 2 and 2", up.opened(), len(up.open))
		}
		// The old one is served while the new one is on its way.
		up.publish(news, 3, 10)
		settle(time.Millisecond)
		r.drain().want(1, 1, 6)
		up.set(func() { up.mute = false })
		settle(time.Millisecond)
		if len(up.open) != 1 {
			t.Fatalf("%d open after the successor's OK, want 1", len(up.open))
		}
		up.publish(news, 3, 10)
		settle(time.Millisecond)
		r.drain().want(1, 1, 9)
		if len(r.states) > 0 {
			t.Fatalf("states %v, want none", r.states)
		}
	})
}

// The successor does not come before the deadline: lost, then restored, nothing missing.
func TestDeadlinePasses(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		up.set(func() { up.answer = &relay.End{Code: relay.Unavailable} })
		up.endAll(relay.End{Code: relay.GoingAway, Deadline: 2 * time.Second})
		settle(1900 * time.Millisecond)
		if r.drain(); len(r.states) > 0 {
			t.Fatal("lost before the deadline")
		}
		settle(200 * time.Millisecond)
		if r.drain(); !slices.Equal(r.states, []relay.State{relay.Lost}) {
			t.Fatalf("states %v after the deadline", r.states)
		}
		up.publish(news, 5, 10)
		up.set(func() { up.answer = nil })
		settle(6 * time.Second)
		r.drain().want(1, 1, 5)
	})
}

// A final End goes to everybody, a refusal as first frame.
func TestFinal(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		up.publish(news, 2, 10)
		synctest.Wait()
		up.set(func() { up.answer = &relay.End{Code: relay.UnknownNamespace, Detail: "chat"} })
		up.endAll(relay.End{Code: relay.Revoked})
		synctest.Wait()
		r.drain().want(1, 1, 2)
		if r.end == nil || r.end.Code != relay.Revoked {
			t.Fatalf("end %v", r.end)
		}
		n := read(t, h, live)
		b := read(t, h, relay.SubscribeRequest{Channel: news, Barrier: true})
		synctest.Wait()
		for _, r := range []*reader{n, b} {
			if r.drain(); r.ok || r.end == nil || r.end.Detail != "chat" {
				t.Fatalf("ok %v, end %v", r.ok, r.end)
			}
		}
		if h.Stats().Topics != 0 {
			t.Fatalf("%d topics left", h.Stats().Topics)
		}
	})
}

// No answer for 30 s: the subscriber gets the upstream's reason, not silence.
func TestNoAnswer(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.answer = &relay.End{Code: relay.Unavailable, Detail: "mars"}
		r := read(t, h, live)
		settle(29 * time.Second)
		if r.drain(); r.end != nil {
			t.Fatal("given up too early")
		}
		settle(7 * time.Second)
		if r.drain(); r.end == nil || r.end.Detail != "mars" {
			t.Fatalf("end %v after 36 s", r.end)
		}
	})
}

// A channel that nobody listens to lingers, then goes.
func TestLinger(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		up.publish(news, 5, 100)
		synctest.Wait()
		r.drain().sub.Close()
		settle(9 * time.Second)
		if len(up.open) != 1 {
			t.Fatal("let go too early")
		}
		r = read(t, h, live)
		settle(5 * time.Second)
		r.drain().sub.Close()
		settle(9900 * time.Millisecond)
		if len(up.open) != 1 || up.opened() != 1 {
			t.Fatal("the linger did not begin anew")
		}
		settle(200 * time.Millisecond)
		if s := h.Stats(); len(up.open) != 0 || s.Topics != 0 || s.RingBytes != 0 || s.Subscriptions != 0 {
			t.Fatalf("not let go: %d open, %+v", len(up.open), s)
		}
	})
}

func TestTopicsBusy(t *testing.T) {
	bubble(t, Config{Topics: 1}, func(t *testing.T, h *Hub, up *home) {
		a := read(t, h, live)
		b := read(t, h, relay.SubscribeRequest{Channel: "chat:other"})
		synctest.Wait()
		if a.drain(); !a.ok {
			t.Fatal("the first channel was refused")
		}
		if b.drain(); b.end == nil || b.end.Code != relay.Busy {
			t.Fatalf("end %v, want busy", b.end)
		}
	})
}

// Run's end ends everybody, closes everything upstream, and refuses who comes later.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newHome()
		h := New(Config{Upstream: up})
		ctx, stop := context.WithCancel(t.Context())
		var rs []*reader
		done := make(chan struct{})
		go func() { h.Run(ctx); close(done) }()
		up.publish(news, 10, 10)
		rs = append(rs, read(t, h, live), read(t, h, first))
		synctest.Wait()
		rs = append(rs, read(t, h, relay.SubscribeRequest{Channel: "chat:x", Barrier: true}))
		stop()
		<-done
		rs = append(rs, read(t, h, live))
		synctest.Wait()
		for i, r := range rs {
			if r.drain(); r.end == nil || r.end.Code != relay.GoingAway {
				t.Errorf("reader %d: end %v", i, r.end)
			}
		}
		if len(up.open) != 0 {
			t.Errorf("%d upstream subscriptions left open", len(up.open))
		}
	})
}
