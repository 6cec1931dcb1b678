package channel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// Wherever a producer stands, exactly its last 1,024 numbers are answered; and when it is
// forgotten, nothing of it is left.
func TestWindow(t *testing.T) {
	view, b, now := memview.New(), channel.NewBatch(), time.Unix(1_000_000, 0)
	b.Begin(view, now)
	if err := b.SetPolicy("chat", channel.Policy{Age: -1}); err != nil {
		t.Fatal(err)
	}
	b.Own("chat", 0, relay.Slots-1)
	b.Commit()
	p := relay.Publication{Channel: "chat:a", Subject: "alice", Producer: relay.Producer{1}}
	publish := func(n uint64) (relay.Position, relay.Code) {
		p.N, p.Body = n, relaytest.Body(fmt.Sprint(n), "")
		at, end := b.Publish(p)
		return at, end.Code
	}
	for last := uint64(1); last <= 1200; last++ {
		b.Begin(view, now)
		if at, code := publish(last); code != relay.Done || at.Seq != relay.Seq(last) {
			t.Fatalf("n=%d: %v %v", last, at, code)
		}
		b.Commit()
		if last%7 != 0 && last < 1000 {
			continue
		}
		b.Begin(view, now)
		for n := uint64(1); n <= last; n += 1 + last/100 {
			at, code := publish(n)
			switch {
			case n+channel.Window > last && (code != relay.Done || at.Seq != relay.Seq(n)):
				t.Fatalf("n=%d of %d: %v %v", n, last, at, code)
			case n+channel.Window <= last && code != relay.TooOld:
				t.Fatalf("n=%d of %d: %v, want too_old", n, last, code)
			}
		}
		b.Commit()
	}
	b.Begin(view, now.Add(channel.ProducerTTL))
	b.Expire(10)
	b.Commit()
	for _, kind := range []byte{0x14, 0x15, 0x20, 0x22} {
		for k := range view.Ascend([]byte{kind}, []byte{kind + 1}) {
			t.Errorf("left behind: %q", k)
		}
	}
}
