package hub

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/relay"
)

// Random subscribers join, leave and stop reading while the upstream loses, trims and breaks
// what it has: every reliable log is contiguous or has a gap, every reader arrives at the end,
// and nothing is left behind. MERIDIAN_SEED (1) and MERIDIAN_FOR (3s) choose the rounds.
func TestCampaignHub(t *testing.T) {
	seed, long := campaign.Settings(t, 3*time.Second)
	rounds := 0
	for begun := time.Now(); time.Since(begun) < long && !t.Failed(); rounds++ {
		t.Run(fmt.Sprint("seed=", seed+uint64(rounds)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				round(t, rand.New(rand.NewPCG(seed+uint64(rounds), 0)))
			})
		})
	}
	t.Logf("%d rounds", rounds)
}

var names = []relay.Channel{"chat:a", "chat:b", "chat:c"}

func round(t *testing.T, rnd *rand.Rand) {
	h, up := start(t, Config{
		RingBytes:  1 << (10 + rnd.IntN(8)),
		FeedBytes:  1 << (10 + rnd.IntN(8)),
		Budget:     1 << (10 + rnd.IntN(12)),
		Feeds:      1 + rnd.IntN(4),
		TopicFeeds: 1 + rnd.IntN(3),
		Workers:    1 + rnd.IntN(2),
		Linger:     time.Duration(rnd.IntN(3)-1) * time.Second,
	})
	readers := map[*reader]relay.Channel{}
	epoch := 1
	some := func() relay.Channel { return names[rnd.IntN(len(names))] }
	for range 100 {
		switch rnd.IntN(16) {
		case 0, 1, 2, 3:
			up.publish(some(), 1+rnd.IntN(100), rnd.IntN(1000))
		case 4, 5:
			r := randomRequest(rnd, some())
			readers[read(t, h, r)] = r.Channel
		case 6:
			for r := range readers {
				if rnd.IntN(8) == 0 {
					r.sub.Close()
					delete(readers, r)
				}
			}
		case 7, 8, 9, 10, 11:
			for r := range readers {
				for n := rnd.IntN(4); n > 0 && r.next(1+rnd.IntN(8<<10)); n-- {
				}
			}
		case 12:
			ends := []relay.End{{Code: relay.LinkLost}, {Code: relay.Busy, RetryAfter: time.Second}, {Code: relay.GoingAway, Deadline: time.Second}}
			up.endAll(ends[rnd.IntN(len(ends))])
		case 13:
			up.set(func() {
				up.answer = nil
				if rnd.IntN(2) == 0 {
					up.answer = &relay.End{Code: relay.Unavailable}
				}
				up.mute = rnd.IntN(4) == 0
			})
		case 14:
			ch := some()
			up.mu.Lock()
			p := up.log(ch).at
			up.mu.Unlock()
			if p.Seq > 10 {
				p.Seq -= relay.Seq(rnd.IntN(10))
				up.trim(ch, p)
			}
		case 15:
			if rnd.IntN(4) == 0 {
				epoch++
				up.breakEpoch(some(), relay.Epoch(epoch))
			}
		}
		if rnd.IntN(2) == 0 {
			settle(time.Duration(rnd.IntN(2000)) * time.Millisecond)
		}
	}
	arrive(t, h, up, readers)
}

func randomRequest(rnd *rand.Rand, ch relay.Channel) relay.SubscribeRequest {
	r := relay.SubscribeRequest{Channel: ch, Barrier: rnd.IntN(4) == 0}
	r.From.Kind = relay.StartKind(rnd.IntN(5))
	switch r.From.Kind {
	case relay.StartAfter:
		r.From.After = at(rnd.IntN(3), rnd.IntN(1000))
	case relay.StartLast:
		r.From.Count = uint64(rnd.IntN(50))
	case relay.StartSince:
		r.From.Since = time.Minute
	}
	if rnd.IntN(4) == 0 {
		r.Mode = relay.Latest
	}
	return r
}

// arrive mends everything, and expects everybody at the end and nothing left.
func arrive(t *testing.T, h *Hub, up *home, readers map[*reader]relay.Channel) {
	up.set(func() { up.answer, up.mute = nil, false })
	settle(10 * time.Second)
	last := map[relay.Channel]relay.Position{}
	for _, ch := range names {
		last[ch] = up.publish(ch, 1, 10)
	}
	for range 200 {
		late := 0
		for r, ch := range readers {
			if r.drain(); r.end == nil && r.at != last[ch] {
				late++
			}
		}
		if late == 0 {
			break
		}
		settle(time.Second)
	}
	for r, ch := range readers {
		if r.at != last[ch] && r.end == nil || r.extra.Load() > r.spare {
			t.Errorf("a reader of %s is at %v of %v, latest %v, OK %v, %d extra wakes", ch, r.at, last[ch], r.latest, r.ok, r.extra.Load())
		}
		if r.end != nil && final(r.end) {
			t.Errorf("a reader of %s ended with %+v", ch, *r.end)
		}
		if n := len(r.states); r.end == nil && n > 0 && r.states[n-1] != relay.Restored {
			t.Errorf("a reader of %s was left with %v", ch, r.states)
		}
		r.sub.Close()
	}
	settle(12 * time.Second)
	s := h.Stats()
	if s.RingBytes != 0 || s.HeldBytes != 0 || s.Feeds != 0 || s.Topics != 0 || s.Lost != 0 || s.Subscriptions != 0 || len(up.open) != 0 {
		t.Errorf("left: %+v, %d open", s, len(up.open))
	}
	if h.slots.free != h.cfg.Feeds {
		t.Errorf("%d feed slots of %d", h.slots.free, h.cfg.Feeds)
	}
}
