package hub

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// What the ring covers comes from the ring.
func TestAfterInRing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		r := read(t, h, live)
		synctest.Wait()
		up.publish(news, 10, 10)
		synctest.Wait()
		a, b, c := read(t, h, after(1, 4)), read(t, h, after(1, 10)), read(t, h, after(1, 0))
		last := read(t, h, relay.SubscribeRequest{Channel: news, From: relay.Start{Kind: relay.StartLast, Count: 3}})
		synctest.Wait()
		a.drain().want(1, 5, 10)
		b.drain().want(1, 1, 0)
		c.drain().want(1, 1, 10)
		last.drain().want(1, 8, 10)
		r.drain()
		if up.opened() != 1 {
			t.Fatalf("%d upstream subscriptions, want 1", up.opened())
		}
	})
}

// Starts that only the home can resolve, all at once: one feed for each kind (200 readers), handed over, closed.
func TestStarts(t *testing.T) {
	starts := []struct {
		from relay.Start
		seq  int // of the first message
	}{
		{relay.Start{Kind: relay.StartFirst}, 1},
		{relay.Start{Kind: relay.StartLast, Count: 7}, 994},
		{relay.Start{Kind: relay.StartSince, Since: time.Hour}, 1},
		{relay.Start{Kind: relay.StartAfter, After: at(1, 500)}, 501},
	}
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 1000, 500)
		var rs []*reader
		for _, s := range starts {
			for range 50 {
				rs = append(rs, read(t, h, relay.SubscribeRequest{Channel: news, From: s.from}))
			}
		}
		synctest.Wait()
		up.publish(news, 1, 500)
		drainAll(rs)
		for i, r := range rs {
			r.want(1, starts[i/50].seq, 1001)
			if len(r.gaps) > 0 {
				t.Fatalf("gaps %v", r.gaps)
			}
		}
		synctest.Wait()
		// A reader that the scheduler leaves behind its feed's ring may open one more.
		if n := up.opened(); n < 1+len(starts) || n > 3+len(starts) {
			t.Fatalf("%d upstream subscriptions, want %d", n, 1+len(starts))
		}
		if len(up.open) != 1 || h.Stats().Feeds != 0 {
			t.Fatalf("%d open, %d feeds after all were handed over", len(up.open), h.Stats().Feeds)
		}
		up.publish(news, 5, 10)
		synctest.Wait()
		for i, r := range rs {
			r.drain().want(1, starts[i/50].seq, 1006)
		}
	})
}

// A feed is read only as far as its foremost cursor wants.
func TestFeedPace(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 10_000, 1000)
		r := read(t, h, first)
		synctest.Wait()
		for r.next(1000) && len(r.got) < 20 {
			synctest.Wait()
		}
		for range 50 { // the topic has turns, the reader does not read
			up.publish(news, 1, 10)
			settle(time.Millisecond)
		}
		if n := up.served["first"]; n == 0 || n > 200 {
			t.Fatalf("%d messages pulled for one who read %d", n, len(r.got))
		}
		r.next(1)
		r.drain().want(1, 1, 10_050)
	})
}

// A cursor that falls out of the ring loses nothing, and slows nobody.
func TestFallBehind(t *testing.T) {
	bubble(t, Config{RingBytes: 32 << 10, FeedBytes: 32 << 10}, func(t *testing.T, h *Hub, up *home) {
		slow, fast := read(t, h, live), read(t, h, live)
		synctest.Wait()
		slow.drain()
		fast.drain()
		for range 50 {
			up.publish(news, 20, 1000)
			synctest.Wait()
			fast.drain()
		}
		fast.want(1, 1, 1000)
		if up.opened() != 1 {
			t.Fatal("a feed for one who does not read")
		}
		slow.drain().want(1, 1, 1000)
		if s := h.Stats(); s.FellBehind == 0 || s.RingBytes > 128<<10 {
			t.Fatalf("%+v", s)
		}
		synctest.Wait()
		if len(up.open) != 1 {
			t.Fatalf("%d open at rest", len(up.open))
		}
	})
}

// Cursors that fall into a feed's window share it.
func TestShare(t *testing.T) {
	bubble(t, Config{TopicFeeds: 1, RingBytes: 16 << 10}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 2000, 1000)
		var rs []*reader
		for i := range 20 {
			rs = append(rs, read(t, h, after(1, 3*i)))
		}
		for range 3000 {
			synctest.Wait()
			for _, r := range rs {
				if !r.owed.Load() {
					r.next(3000)
				}
			}
		}
		for i, r := range rs {
			r.drain().want(1, 3*i+1, 2000)
		}
		if n := up.served["after"]; n > 3*2000 {
			t.Fatalf("%d messages came up for 20 readers of 2,000", n)
		}
		t.Logf("%d messages came up for 20 readers of 2,000; %d feeds", up.served["after"], up.opened()-1)
	})
}

// Past the bounds subscribers wait in order, and all are served; an idle feed makes room.
func TestFeedsWait(t *testing.T) {
	bubble(t, Config{Feeds: 1, RingBytes: 16 << 10, FeedBytes: 16 << 10}, func(t *testing.T, h *Hub, up *home) {
		other := relay.Channel("chat:other")
		up.publish(news, 500, 1000)
		up.publish(other, 500, 1000)
		idle := read(t, h, first)
		synctest.Wait()
		idle.next(1)
		second := read(t, h, relay.SubscribeRequest{Channel: other, From: first.From})
		third := read(t, h, after(1, 100))
		settle(900 * time.Millisecond)
		if second.drain(); len(second.got) > 0 {
			t.Fatal("a second feed was opened")
		}
		settle(5 * time.Second)
		second.drain().want(1, 1, 500)
		third.drain().want(1, 101, 500)
		settle(time.Millisecond)
		idle.drain().want(1, 1, 500)
		if n := len(up.open); n != 2 {
			t.Fatalf("%d open at rest, want 2", n)
		}
	})
}

// A feed resumes by itself after a loss; a final End ends who is on it.
func TestFeedEnds(t *testing.T) {
	bubble(t, Config{FeedBytes: 16 << 10}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 1000, 1000)
		r := read(t, h, first)
		synctest.Wait()
		for len(r.got) < 100 {
			r.next(1000)
			synctest.Wait()
		}
		up.endAll(relay.End{Code: relay.LinkLost})
		settle(6 * time.Second)
		r.drain().want(1, 1, 1000)

		r = read(t, h, first)
		synctest.Wait()
		r.next(1000)
		up.mu.Lock()
		for s := range up.open {
			if s.r.From.Kind == relay.StartFirst {
				s.end = &relay.End{Code: relay.Forbidden}
				s.ring()
			}
		}
		up.mu.Unlock()
		synctest.Wait()
		if r.drain(); r.end == nil || r.end.Code != relay.Forbidden {
			t.Fatalf("end %v", r.end)
		}
	})
}

// A position that the home does not know is the home's to judge.
func TestForeignPosition(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 10, 10)
		a, b := read(t, h, after(7, 100)), read(t, h, after(1, 500))
		synctest.Wait()
		for _, r := range []*reader{a, b} {
			r.drain().want(1, 1, 10)
			if len(r.gaps) != 1 || r.gaps[0].Reason != relay.GapEpoch {
				t.Fatalf("gaps %v", r.gaps)
			}
		}
		up.publish(news, 10, 10)
		synctest.Wait()
		a.drain().want(1, 1, 20)
	})
}

// A position that this hub has not got yet, though the home has: nothing twice, nothing missing.
func TestAhead(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		l := read(t, h, live)
		synctest.Wait()
		l.drain()
		up.set(func() { up.answer = &relay.End{Code: relay.Unavailable} })
		up.endAll(relay.End{Code: relay.LinkLost})
		synctest.Wait()
		up.publish(news, 10, 10)
		r := read(t, h, after(1, 10))
		synctest.Wait()
		r.drain()
		up.set(func() { up.answer = nil })
		up.publish(news, 10, 10)
		settle(6 * time.Second)
		r.drain().want(1, 11, 20)
		l.drain().want(1, 1, 20)
		if len(r.gaps) > 0 {
			t.Fatalf("gaps %v", r.gaps)
		}
	})
}

// A limit ends at the head that OK named: from the ring where it covers, else passed through.
func TestLimit(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 5, 10)
		r := read(t, h, live)
		synctest.Wait()
		r.drain()
		up.publish(news, 5, 10)
		synctest.Wait()
		cases := []struct {
			name     string
			from     relay.Start
			limit    int
			one, end int
			opens    int
		}{
			{"ring, limit", relay.Start{Kind: relay.StartAfter, After: at(1, 5)}, 3, 6, 8, 0},
			{"ring, head", relay.Start{Kind: relay.StartAfter, After: at(1, 7)}, 100, 8, 10, 0},
			{"ring, at the head", relay.Start{Kind: relay.StartAfter, After: at(1, 10)}, 100, 11, 10, 0},
			{"ring, last", relay.Start{Kind: relay.StartLast, Count: 2}, 100, 9, 10, 0},
			{"live", relay.Start{}, 100, 11, 10, 0},
			{"older", relay.Start{Kind: relay.StartAfter, After: at(1, 2)}, 100, 3, 10, 1},
			{"first", relay.Start{Kind: relay.StartFirst}, 100, 1, 10, 1},
		}
		for _, c := range cases {
			before := up.opened()
			l := read(t, h, relay.SubscribeRequest{Channel: news, From: c.from, Limit: uint64(c.limit)})
			synctest.Wait()
			l.drain().want(1, c.one, c.end)
			if l.end == nil || l.end.Code != relay.Done {
				t.Errorf("%s: end %v", c.name, l.end)
			}
			if l.sub.Close(); up.opened()-before != c.opens {
				t.Errorf("%s: %d upstream subscriptions, want %d", c.name, up.opened()-before, c.opens)
			}
		}
		if n := h.Stats().Private; n != 0 {
			t.Errorf("%d private ones left", n)
		}
	})
}

// Where no ring holds anything, everybody still gets everything, one after the other.
func TestNoRoom(t *testing.T) {
	bubble(t, Config{Budget: 1, TopicFeeds: 1, Feeds: 2}, func(t *testing.T, h *Hub, up *home) {
		var rs []*reader
		for i := range 20 {
			r := read(t, h, live)
			synctest.Wait()
			r.next(1 << 10)
			rs = append(rs, r)
			up.publish(news, 50, 100)
			if i%3 == 0 {
				synctest.Wait()
			}
		}
		settle(time.Second)
		for i, r := range rs {
			for range 100 {
				if r.drain(); r.at == at(1, 1000) {
					break
				}
				settle(100 * time.Millisecond)
			}
			if r.at != at(1, 1000) || len(r.gaps) > 0 {
				t.Fatalf("reader %d is at %v, gaps %v", i, r.at, r.gaps)
			}
		}
	})
}

// Who waits at the head of a feed goes over to the ring as soon as that is there too, and so makes
// room for others, though no message comes any more.
func TestFeedGivesWayToRing(t *testing.T) {
	bubble(t, Config{TopicFeeds: 1}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 4, 10)
		r := read(t, h, live)
		synctest.Wait()
		r.drain()
		up.mu.Lock() // the fifth message is there, and the ring is late
		l := up.log(news)
		l.at = l.at.Next()
		l.list = append(l.list, relay.Frame{Kind: relay.KindMessage, At: l.at, Body: numbered(l.at, 10)})
		up.mu.Unlock()
		ahead := read(t, h, after(1, 5)).drain()
		waits := read(t, h, first).drain()
		if n := h.Stats().Feeds; n != 1 || waits.ok {
			t.Fatalf("%d feeds; one is to be had, and taken", n)
		}
		up.set(func() {})
		synctest.Wait()
		r.drain().want(1, 5, 5)
		ahead.drain()
		settle(feedGiveWay)
		waits.drain().want(1, 1, 5)
		up.publish(news, 1, 10)
		synctest.Wait()
		ahead.drain().want(1, 6, 6)
	})
}
