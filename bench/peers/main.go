package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"time"
)

// figures are what one run measured.
type figures struct {
	took      time.Duration
	latencies []time.Duration // from publish to acknowledgement
}

func (f *figures) rate() float64 { return float64(len(f.latencies)) / f.took.Seconds() }

// p99 sorts the latencies.
func (f *figures) p99() time.Duration {
	if len(f.latencies) == 0 {
		return 0
	}
	slices.Sort(f.latencies)
	return f.latencies[(len(f.latencies)-1)*99/100]
}

func randomPayload(size, seed int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

// committed says whether an answer acknowledges a batch.
func committed(b []byte, n int) error {
	var a struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
		Count int `json:"count"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("answer to a batch: %w", err)
	}
	if a.Error != nil {
		return fmt.Errorf("a batch was refused: %s", a.Error.Description)
	}
	if a.Count != n {
		return fmt.Errorf("a batch of %d was answered as one of %d", n, a.Count)
	}
	return nil
}

// ways are those of which the best counts.
var ways = []way{{batch: 1}, {batch: 100}, {batch: 500}, {batch: 100, atomic: true}, {batch: 500, atomic: true}}

type options struct {
	meridian   string
	dir        string
	pairs      int
	length     time.Duration
	publishers int
	size       int
}

func main() {
	var o options
	flag.StringVar(&o.meridian, "meridian", "", "the meridian program; empty: the peer alone")
	flag.StringVar(&o.dir, "dir", "", "folder for data; empty: the system's for temporary files")
	flag.IntVar(&o.pairs, "pairs", 5, "runs of each side")
	flag.DurationVar(&o.length, "for", 20*time.Second, "length of a run")
	flag.IntVar(&o.publishers, "publishers", 64, "publishers, each with a stream or channel of its own")
	flag.IntVar(&o.size, "size", 1024, "bytes of a payload")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// A result is one run's rate and p99.
type result struct {
	way  string
	rate float64
	p99  float64 // ms
	n    int
}

func (r result) String() string {
	return fmt.Sprintf("%.0f/s, p99 %.1f ms (%d messages; %s)", r.rate, r.p99, r.n, r.way)
}

// run measures pairs, in turn. JetStream's best way is found first: runs of 1/4 of the length.
func run(ctx context.Context, o options) error {
	best := ways[0]
	top := 0.0
	fmt.Printf("jetstream: %d publishers, %d B, file storage, sync always\n", o.publishers, o.size)
	for _, w := range ways {
		r, err := jetStream(ctx, o, w, o.length/4)
		if err != nil {
			return fmt.Errorf("jetstream, %v: %w", w, err)
		}
		fmt.Printf("  %v\n", r)
		if r.rate > top {
			best, top = w, r.rate
		}
	}
	var ours, theirs []result
	for i := range o.pairs {
		sides := []func() error{
			func() error {
				r, err := jetStream(ctx, o, best, o.length)
				fmt.Printf("%d jetstream %v\n", i+1, r)
				theirs = append(theirs, r)
				return err
			},
			func() error {
				if o.meridian == "" {
					return nil
				}
				r, err := meridian(ctx, o)
				fmt.Printf("%d meridian  %v\n", i+1, r)
				ours = append(ours, r)
				return err
			},
		}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return err
			}
		}
	}
	if o.meridian == "" {
		fmt.Printf("jetstream, median: %.0f/s (%v)\n", median(rates(theirs)), best)
		return nil
	}
	lines, met := table(o, best, ours, theirs)
	fmt.Print(lines)
	if !met {
		return errors.New("a figure was missed")
	}
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func rates(list []result) []float64 { return column(list, func(r result) float64 { return r.rate }) }
func p99s(list []result) []float64  { return column(list, func(r result) float64 { return r.p99 }) }

func column(list []result, of func(result) float64) []float64 {
	v := make([]float64, len(list))
	for i, r := range list {
		v[i] = of(r)
	}
	return v
}

// table is the lines of this comparison in docs/benchmarks.md: medians, with what the runs lay
// between, and the median of the pairs' ratios. It says whether that is met.
func table(o options, best way, ours, theirs []result) (lines string, met bool) {
	spread := func(v []float64) string {
		if len(v) == 1 {
			return fmt.Sprintf("%.0f", v[0])
		}
		return fmt.Sprintf("%.0f (%.0f to %.0f)", median(v), slices.Min(v), slices.Max(v))
	}
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, ours[i].rate/theirs[i].rate)
	}
	met = median(ratios) >= 1
	verdict := map[bool]string{true: "met", false: "**missed**"}[met]
	return fmt.Sprintf("| Row | Runs | Figure | Meridian / baseline | Ratio | Must reach | |\n|---|---|---|---|---|---|---|\n"+
		"| `many`, JetStream's best | %d × %g s | messages per second | %s / %s 1/s | %.2f | ≥ 1.00 × | %s |\n"+
		"|  |  | also | acknowledged, p99 %.1f / %.1f ms; JetStream's best is %v |  |  |  |\n",
		len(ours), o.length.Seconds(), spread(rates(ours)), spread(rates(theirs)), median(ratios), verdict,
		median(p99s(ours)), median(p99s(theirs)), best), met
}

func jetStream(ctx context.Context, o options, w way, d time.Duration) (result, error) {
	f, err := runJetStream(ctx, o.dir, w, o.publishers, o.size, d)
	if err != nil {
		return result{}, err
	}
	return result{w.String(), f.rate(), float64(f.p99()) / 1e6, len(f.latencies)}, nil
}

// meridian has the program do the same work, and reads its line of JSON.
func meridian(ctx context.Context, o options) (result, error) {
	args := []string{"bench", "publish", "many", "--via", "node", "--pairs", "1", "--for", o.length.String(), "-o", "json", "--no-base"}
	if o.dir != "" {
		args = append(args, "--dir", o.dir)
	}
	cmd := exec.CommandContext(ctx, o.meridian, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	// Its exit code says whether its own bounds were reached: that is not asked here.
	if err := cmd.Run(); err != nil && out.Len() == 0 {
		return result{}, fmt.Errorf("%v: %w: %s", cmd.Args, err, complaints.Bytes())
	}
	var row struct {
		Figures []struct {
			Metric   string  `json:"metric"`
			Meridian float64 `json:"meridian"`
		} `json:"figures"`
	}
	if err := json.Unmarshal(out.Bytes(), &row); err != nil {
		return result{}, fmt.Errorf("%v: %w: %s", cmd.Args, err, out.Bytes())
	}
	r := result{way: "through a node's Upstream"}
	for _, f := range row.Figures {
		switch f.Metric {
		case "messages per second":
			r.rate = f.Meridian
		case "acknowledged, p99":
			r.p99 = f.Meridian
		case "messages":
			r.n = int(f.Meridian)
		}
	}
	return r, nil
}
