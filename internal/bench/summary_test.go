package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	cfg := Config{For: 20 * time.Second}
	var s summary
	s.add(&result{
		row:     row{name: "one", bounds: []bound{{of: ackP99, ratio: 3}, {of: messageRate, least: 1000}}},
		subject: []sample{{ackP99: 2, messageRate: 1500, ackP50: 1}, {ackP99: 4, messageRate: 1700, ackP50: 3}},
		base:    []sample{{ackP99: 0.5, ackP50: 0.2}, {ackP99: 1, ackP50: 0.4}},
		disk:    sample{ackP50: 0.2, ackP99: 1.5},
	}, cfg)
	s.add(&result{row: row{name: "restart", whole: true, bounds: []bound{{of: servingAfter, most: 2000}}},
		subject: []sample{{servingAfter: 1_234_567}}}, cfg)
	// A ratio without its baseline is neither met nor missed.
	cfg.For = time.Hour
	s.add(&result{row: row{name: "three", bounds: []bound{{of: messageRate, leastRatio: 0.25}}},
		subject: []sample{{messageRate: 999}}}, cfg)
	var out bytes.Buffer
	if err := s.print(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"| Row | Runs | Figure | Meridian / baseline | Ratio | Must reach | |",
		"|---|---|---|---|---|---|---|",
		"| `one` | 2 × 20 s | messages per second | 1,600 (1,500 to 1,700) 1/s | – | ≥ 1000 1/s | met |",
		"|  |  | acknowledged, p99 | 3 (2 to 4) / 0.75 (0.50 to 1) ms | 4.00 | ≤ 3.00 × | **missed** |",
		"|  |  | also | acknowledged, p50 2 / 0.30 ms; before it, the disk alone: fdatasync p50 0.20, p99 1.50 ms |  |  |  |",
		"| `restart` | 1 | serving after | 1,234,567 ms | – | ≤ 2000 ms | **missed** |",
		"| `three` | 1 × 60 min | messages per second | 999 1/s | – | ≥ 0.25 × | – |", "",
	}, "\n")
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
