package bench

import (
	"testing"
	"time"
)

// Shares of a drive are all of its publishers, once each, at its rate.
func TestShares(t *testing.T) {
	d := drive{Publishers: 64, Rate: 6400}
	next, rate := 0, 0.0
	for i := range 3 {
		s := d.share(i, 3)
		if s.First != next || s.Publishers < 21 || s.Publishers > 22 {
			t.Errorf("share %d begins with %d and has %d; want %d, and a third", i, s.First, s.Publishers, next)
		}
		next += s.Publishers
		rate += s.Rate
	}
	if next != 64 || rate < 6399 || rate > 6401 {
		t.Errorf("shares have %d publishers, %v a second; want 64 and 6400", next, rate)
	}
}

// The quantiles of drives that ran at the same time are of all their publishes.
func TestTogether(t *testing.T) {
	var list []driven
	for _, n := range []int{99, 1} {
		h := newTimes()
		for range n {
			_ = h.RecordValue(int64(1000 + (99-n)*10_000))
		}
		d := driven{Took: time.Second, Stall: time.Duration(n), Busy: 1}
		if err := d.fill(h); err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	sum, err := together(list)
	if err != nil {
		t.Fatal(err)
	}
	near := func(got, want time.Duration) bool { return got > want*99/100 && got < want*101/100 }
	if sum.Messages != 100 || !near(sum.P50, time.Millisecond) || !near(sum.P99, time.Millisecond) ||
		!near(sum.Max, 981*time.Millisecond) || sum.Took != time.Second || sum.Stall != 99 || sum.Busy != 2 {
		t.Errorf("%+v", sum)
	}
	if _, err := together([]driven{{Times: []byte("x")}}); err == nil {
		t.Error("times that are none were taken")
	}
}
