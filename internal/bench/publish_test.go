package bench

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func TestBounds(t *testing.T) {
	half, two := 0.5, 2.0
	for _, c := range []struct {
		b      bound
		v      float64
		ratio  *float64
		missed bool
	}{
		{bound{of: ackP99, ratio: 1}, 9, &half, false},
		{bound{of: ackP99, ratio: 1}, 9, &two, true},
		{bound{of: ackP99, most: 25}, 25, nil, false},
		{bound{of: ackP99, most: 25}, 25.1, nil, true},
		{bound{of: messageRate, leastRatio: 1}, 9, &two, false},
		{bound{of: messageRate, leastRatio: 1}, 9, &half, true},
		{bound{of: messageRate, leastRatio: 1}, 9, nil, false},
		{bound{of: messageRate, least: 25}, 25, nil, false},
		{bound{of: messageRate, least: 25}, 24, nil, true},
	} {
		if got := c.b.missed(c.v, c.ratio); got != c.missed {
			t.Errorf("%v, value %v: missed %v", c.b, c.v, got)
		}
	}
	if got := (bound{of: messageRate, least: 25_000}).limit(); got != "≥ 25000 1/s" {
		t.Errorf("limit %q", got)
	}
}

// TestDiskAgainstLive: what lies within the retention counts as live, whatever the rate was.
func TestDiskAgainstLive(t *testing.T) {
	var k kept
	began := time.Unix(0, 0)
	for i := range 10 {
		m := measured{elapsed: began.Add(time.Duration(i) * time.Second), disk: diskUse{Size: 6 * publishSize}}
		k.add(&driven{Messages: 2}, m, 2*time.Second)
	}
	if len(k.ratios) == 0 || k.total != 20 {
		t.Fatalf("%+v", k)
	}
	for _, r := range k.ratios {
		if r != 1 { // the last two pieces, and the one that was begun
			t.Errorf("ratio %v, want 1", r)
		}
	}
}

// home answers every publish after a second, and stalls once.
type home struct {
	relay.Upstream
	refuse bool
	n      int
}

func (h *home) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	h.n++
	if h.n == 3 {
		return relay.ErrBusy
	}
	wait := time.Second
	if h.n == 10 {
		wait = 7 * time.Second
	}
	end := relay.End{}
	if h.refuse && h.n == 5 {
		end.Code = relay.Forbidden
	}
	time.AfterFunc(wait, func() { answer(relay.Position{}, end) })
	return nil
}

func TestDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := drive{Publishers: 1, Unanswered: 1, Size: 10, For: 100 * time.Second, Cold: true}
		got, err := d.run(context.Background(), &home{})
		if err != nil {
			t.Fatal(err)
		}
		// An answer a second, less the 6 s of the stall, less one that came too late.
		if got.Messages < 92 || got.Messages > 94 || got.Busy != 1 || got.P50 < 999*time.Millisecond || got.P50 > 1002*time.Millisecond ||
			got.Stall < 6990*time.Millisecond || got.Stall > 7010*time.Millisecond {
			t.Errorf("%+v", got)
		}
		if _, err := d.run(context.Background(), &home{refuse: true}); !errors.Is(err, errRefused) {
			t.Errorf("error %v, want %v", err, errRefused)
		}
		// A tenth goes by first, and the stall with it.
		d.Cold = false
		if warm, err := d.run(context.Background(), &home{}); err != nil || warm.Messages < 92 || warm.Stall > 2*time.Second {
			t.Errorf("%+v, error %v", warm, err)
		}
		// A rate makes up for it.
		d.Cold, d.Rate = true, 0.5
		if paced, err := d.run(context.Background(), &home{}); err != nil || paced.Messages < 49 || paced.Messages > 50 {
			t.Errorf("%+v, error %v; want 49 or 50 messages", paced, err)
		}
	})
}
