package hub

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/meridian-relay/meridian/relay"
)

func seqs(p []relay.Position) []int {
	var s []int
	for _, p := range p {
		s = append(s, int(p.Seq))
	}
	return s
}

// Mode latest: what a newer message of the key superseded is skipped.
func TestLatest(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		req := live
		req.Mode = relay.Latest
		a, all := read(t, h, req), read(t, h, live)
		synctest.Wait()
		a.drain()
		all.drain()
		for i := range 10 {
			up.publishKey(news, fmt.Sprint("k", i%3), "x")
		}
		up.publishKey(news, "", "x")
		up.publishKey(news, "", "y")
		synctest.Wait()
		if a.drain(); !slices.Equal(seqs(a.got), []int{8, 9, 10, 12}) {
			t.Fatalf("got %v", a.got)
		}
		all.drain().want(1, 1, 12)
		late := read(t, h, relay.SubscribeRequest{Channel: news, Mode: relay.Latest, From: relay.Start{Kind: relay.StartAfter, After: at(1, 9)}})
		synctest.Wait()
		if late.drain(); !slices.Equal(seqs(late.got), []int{10, 12}) {
			t.Fatalf("got %v", late.got)
		}
		up.publishKey(news, "k1", "x")
		synctest.Wait()
		if a.drain(); a.at != at(1, 13) {
			t.Fatalf("at %v", a.at)
		}
	})
}

// The index of keys counts: a ring of many small messages with a key each is no larger for it.
func TestLatestIndexIsBounded(t *testing.T) {
	const most = 64 << 10
	bubble(t, Config{RingBytes: most, Linger: -1}, func(t *testing.T, h *Hub, up *home) {
		req := live
		req.Mode = relay.Latest
		l, other := read(t, h, req), read(t, h, live)
		synctest.Wait()
		for i := range 5000 {
			up.publishKey(news, fmt.Sprint("key ", i), "")
		}
		synctest.Wait()
		tp := h.shard(news).topics[news]
		tp.mu.Lock()
		keys, held := len(tp.ring.keys), tp.ring.bytes
		tp.mu.Unlock()
		if keys < 100 || keys*100 > most || held > most+most/4 {
			t.Errorf("%d keys, %d bytes in a ring of %d", keys, held, most)
		}
		l.sub.Close()
		other.sub.Close()
		synctest.Wait()
		if n := h.Stats().RingBytes; n != 0 {
			t.Errorf("%d bytes count though nothing is held", n)
		}
	})
}

// The index of keys goes with the entries, and with the last who reads latest.
func TestLatestIndex(t *testing.T) {
	bubble(t, Config{RingBytes: 8 << 10}, func(t *testing.T, h *Hub, up *home) {
		l := read(t, h, live)
		synctest.Wait()
		for i := range 50 {
			up.publishKey(news, fmt.Sprint("k", i), "x")
		}
		synctest.Wait()
		req := live
		req.Mode = relay.Latest
		r := read(t, h, req)
		tp := h.shard(news).topics[news]
		for i := range 2000 {
			up.publishKey(news, fmt.Sprint("k", i%500), "0123456789")
			if i%100 == 0 {
				synctest.Wait()
				r.drain()
			}
		}
		synctest.Wait()
		tp.mu.Lock()
		entries := int(tp.ring.next - tp.ring.tail)
		keys := len(tp.ring.keys)
		for k, id := range tp.ring.keys {
			if c := tp.ring.find(*id); *id < tp.ring.tail || string(keyOf(c.buf[c.entries[*id-c.first].off:][:c.entries[*id-c.first].n])) != k {
				t.Errorf("key %q names entry %d", k, *id)
			}
		}
		tp.mu.Unlock()
		if keys == 0 || keys > entries {
			t.Fatalf("%d keys for %d entries", keys, entries)
		}
		r.sub.Close()
		l.drain()
		tp.mu.Lock()
		defer tp.mu.Unlock()
		if tp.ring.keys != nil {
			t.Fatal("the index is kept for nobody")
		}
	})
}

// A latest cursor that fell out of the ring gets the newest of every key, then goes on.
func TestLatestFallsBehind(t *testing.T) {
	bubble(t, Config{RingBytes: 8 << 10}, func(t *testing.T, h *Hub, up *home) {
		req := live
		req.Mode = relay.Latest
		r, l := read(t, h, req), read(t, h, live)
		synctest.Wait()
		r.drain()
		l.drain()
		for i := range 100 {
			up.publishKey(news, fmt.Sprint("old", i%10), "x")
		}
		for range 1000 {
			up.publishKey(news, "busy", "0123456789")
			synctest.Wait()
		}
		if r.drain(); !slices.Equal(seqs(r.got), []int{91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 1100}) {
			t.Fatalf("got %v", seqs(r.got))
		}
		up.publishKey(news, "old3", "y")
		synctest.Wait()
		if r.drain(); r.at != at(1, 1101) || r.extra.Load() > 0 {
			t.Fatalf("at %v", r.at)
		}
		if len(up.open) != 1 {
			t.Fatalf("%d open at rest", len(up.open))
		}
	})
}

// A latest cursor whose past was trimmed away holds no feed for something that never comes.
func TestLatestTrimmed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
		up.publish(news, 100, 10)
		up.trim(news, at(1, 101))
		r := read(t, h, relay.SubscribeRequest{Channel: news, Mode: relay.Latest, From: relay.Start{Kind: relay.StartAfter, After: at(1, 50)}})
		synctest.Wait()
		r.drain()
		if n := h.Stats().Feeds; n != 0 {
			t.Fatalf("%d feeds at rest", n)
		}
		up.publish(news, 1, 10)
		synctest.Wait()
		if r.drain(); !slices.Equal(seqs(r.got), []int{101}) {
			t.Fatalf("got %v", r.got)
		}
	})
}
