package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestFiguresAreMediansOfPairs(t *testing.T) {
	r := result{
		row: row{name: "x", baseName: "baseline", bounds: []bound{{of: cpuPerMessage, ratio: 1.15}, {of: subBytes, most: 400}}},
		subject: []sample{
			{cpuPerMessage: 10, subBytes: 390}, {cpuPerMessage: 40, subBytes: 410}, {cpuPerMessage: 12, subBytes: 405},
		},
		base: []sample{{cpuPerMessage: 10}, {cpuPerMessage: 20}, {cpuPerMessage: 11}},
	}
	f := r.figures()
	if len(f) != 2 || f[0].Meridian != 12 || *f[0].Base != 11 {
		t.Fatalf("figures %+v: want medians 12 and 11", f)
	}
	if got := *f[0].Ratio; got < 1.09 || got > 1.1 || f[0].Missed {
		t.Errorf("ratio %v, missed %v: want the median of 1, 2 and 1.09, within 1.15", got, f[0].Missed)
	}
	if f[1].Meridian != 405 || !f[1].Missed || !r.missed() {
		t.Errorf("figure %+v: 405 B misses 400 B", f[1])
	}
	var out bytes.Buffer
	if err := r.print(Config{Out: &out, Pairs: 3, For: time.Second}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10/10 40/20 12/11", "1.09", "≤ 1.15 ×", "MISSED", "ok"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestMedianOfEvenNumber(t *testing.T) {
	if m := medianOf([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median of 1 to 4 is %v", m)
	}
}

// TestIdleWindowHoldsWholeKeepalives: else some sessions would have one more than others.
func TestIdleWindowHoldsWholeKeepalives(t *testing.T) {
	for _, c := range []struct{ idle, length, want time.Duration }{
		{1, 20 * time.Second, 30 * time.Second},
		{1, 2 * time.Second, 2 * time.Second},
		{0, 20 * time.Second, 20 * time.Second},
	} {
		if got := (trial{idle: c.idle > 0}).window(c.length); got != c.want {
			t.Errorf("idle %v, for %v: window %v, want %v", c.idle > 0, c.length, got, c.want)
		}
	}
}
