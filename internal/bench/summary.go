package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A summary is a table in Markdown of what a run measured: docs/benchmarks.md takes it as it is.
type summary struct{ lines []string }

const summaryHead = `| Row | Runs | Figure | Meridian / baseline | Ratio | Must reach | |
|---|---|---|---|---|---|---|
`

// add takes a row's figures: a line for each that has a bound, and one for all others.
func (s *summary) add(r *result, cfg Config) {
	name, runs := "`"+r.row.name+"`", r.runs(cfg)
	line := func(cells ...string) {
		s.lines = append(s.lines, "| "+strings.Join(append([]string{name, runs}, cells...), " | ")+" |\n")
		name, runs = "", ""
	}
	var also []string
	for _, f := range r.figures() {
		if f.Bound == "" {
			also = append(also, f.Metric+" "+f.both(false))
			continue
		}
		verdict := "met"
		if f.Missed {
			verdict = "**missed**"
		} else if f.Ratio == nil && strings.HasSuffix(f.Bound, "×") {
			verdict = "–" // without its baseline
		}
		line(f.Metric, f.both(true), f.ratioText(), f.limit, verdict)
	}
	if len(r.disk) > 0 {
		also = append(also, fmt.Sprintf("before it, the disk alone: fdatasync p50 %s, p99 %s ms", number(r.disk[ackP50]), number(r.disk[ackP99])))
	}
	if len(also) > 0 {
		line("also", strings.Join(also, "; "), "", "", "")
	}
}

func (s *summary) print(w io.Writer) error {
	if len(s.lines) == 0 {
		return nil
	}
	_, err := io.WriteString(w, summaryHead+strings.Join(s.lines, ""))
	return err
}

// runs says how many runs there were, and of what length unless their work says that.
func (r *result) runs(cfg Config) string {
	n := fmt.Sprint(len(r.subject))
	switch d := cfg.For; {
	case r.row.whole:
		return n
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%s × %d min", n, d/time.Minute)
	default:
		return fmt.Sprintf("%s × %g s", n, d.Seconds())
	}
}

// both is the medians of Meridian and its baseline, with spread what they lie between.
func (f *figure) both(spread bool) string {
	of := func(median float64, runs []float64) string {
		if !spread || len(runs) < 2 {
			return grouped(median)
		}
		return fmt.Sprintf("%s (%s to %s)", grouped(median), grouped(slices.Min(runs)), grouped(slices.Max(runs)))
	}
	s := of(f.Meridian, f.Runs)
	if f.Base != nil {
		s += " / " + of(*f.Base, f.BaseRuns)
	}
	return strings.TrimSpace(s + " " + f.Unit)
}

func (f *figure) ratioText() string {
	if f.Ratio == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", *f.Ratio)
}

// grouped is a number with a comma after every three digits.
func grouped(v float64) string {
	whole, rest, dot := strings.Cut(number(v), ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dot {
		return whole + "." + rest
	}
	return whole
}
