package hub

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Whoever waits for a feed's OK or a barrier's answer is told of a refusal: at once where it is
// final, after AnswerWithin where it may pass.
func TestRefusedBeforeOK(t *testing.T) {
	for _, c := range []struct {
		name string
		r    relay.SubscribeRequest
	}{
		{"feed", relay.SubscribeRequest{Channel: news, From: relay.Start{Kind: relay.StartSince, Since: time.Hour}}},
		{"latest", relay.SubscribeRequest{Channel: news, From: relay.Start{Kind: relay.StartSince}, Mode: relay.Latest}},
		{"barrier", relay.SubscribeRequest{Channel: news, Barrier: true}},
	} {
		for _, code := range []relay.Code{relay.Forbidden, relay.Unavailable} {
			t.Run(c.name+" "+code.String(), func(t *testing.T) {
				bubble(t, Config{}, func(t *testing.T, h *Hub, up *home) {
					other := read(t, h, live)
					synctest.Wait()
					up.publish(news, 10, 10)
					up.set(func() { up.answer = &relay.End{Code: code} })
					r := read(t, h, c.r)
					settle(20 * time.Second)
					if r.drain(); (r.end != nil) != (code == relay.Forbidden) {
						t.Fatalf("after 20 s: %+v", r.end)
					}
					settle(relay.AnswerWithin)
					if r.drain(); r.end == nil || r.end.Code != code {
						t.Fatalf("after 50 s: %+v", r.end)
					}
					r.sub.Close()
					up.set(func() { up.answer = nil })
					again := read(t, h, c.r)
					settle(20 * time.Second)
					if again.drain(); !again.ok || again.end != nil {
						t.Errorf("once the upstream answers: OK %v, end %+v", again.ok, again.end)
					}
					again.sub.Close()
					other.drain().want(1, 1, 10)
					settle(20 * time.Second)
					if n := h.Stats().Feeds; n != 0 || len(up.open) != 1 {
						t.Errorf("%d feeds, %d subscriptions upstream are left", n, len(up.open))
					}
				})
			})
		}
	}
}

// A channel that was promised the next free feed, and needs it no more, passes it on.
func TestFreeFeedIsPassedOn(t *testing.T) {
	for _, gone := range []bool{false, true} {
		bubble(t, Config{Feeds: 1, Linger: -1}, func(t *testing.T, h *Hub, up *home) {
			names := []relay.Channel{"chat:a", "chat:b", "chat:c", "chat:d"}
			var rs, keep []*reader
			for _, ch := range names {
				up.publish(ch, 1000, 1000)
				if !gone {
					keep = append(keep, read(t, h, relay.SubscribeRequest{Channel: ch}))
				}
				synctest.Wait()
				rs = append(rs, read(t, h, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}}))
				synctest.Wait()
			}
			if rs[0].next(1000); !rs[0].ok || h.Stats().Feeds != 1 {
				t.Fatal("the first has no feed")
			}
			rs[1].sub.Close()
			rs[2].sub.Close()
			synctest.Wait()
			rs[0].sub.Close()
			settle(time.Minute)
			rs[3].drain().want(1, 1, 1000)
			for _, r := range append(keep, rs[3]) {
				r.sub.Close()
			}
		})
	}
}
