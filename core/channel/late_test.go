package channel_test

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// A busy channel is trimmed at intervals, not for every message that falls due, and is not later
// than it may be.
func TestLate(t *testing.T) {
	const age, step = 64 * time.Second, 10 * time.Millisecond
	for name, p := range map[string]channel.Policy{"age": {Age: age}, "count": {Count: 6400}, "keyed": {Keyed: true, Age: age}} {
		t.Run(name, func(t *testing.T) {
			v, b := memview.New(), channel.NewBatch()
			now := time.UnixMilli(1_800_000_000_000)
			b.Begin(v, now)
			if err := b.SetPolicy("demo", p); err != nil {
				t.Fatal(err)
			}
			b.Own("demo", 0, relay.Slots-1)
			b.Commit()
			body, looks, most := relaytest.Body("x", "k"), 0, uint64(0)
			for range 20_000 {
				now = now.Add(step)
				b.Begin(v, now)
				if _, end := b.Publish(relay.Publication{Channel: "demo:a", Subject: "s", Body: body}); end.Code != relay.Done {
					t.Fatal(end.Err())
				}
				b.Commit()
				if at := channel.NextDue(v); at > uint64(now.UnixMilli()) {
					continue
				}
				looks++
				steps := channel.Due(v, now, 4096)
				if i, _ := channel.Inspect(v, "demo:a"); i.Count > most {
					most = i.Count
				}
				b.Begin(v, now)
				for _, s := range steps {
					b.Apply(s)
				}
				b.Commit()
			}
			// 200 s at a hundred a second, of which 64 s are kept, and a second more.
			if looks < 100 || looks > 140 || most < 6480 || most > 6510 {
				t.Errorf("%d looks, %d kept at most; want about 136 looks and 6500", looks, most)
			}
		})
	}
}
