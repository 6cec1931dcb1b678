package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
)

// A result is what all runs of one row measured.
type result struct {
	row           row
	flow          bool
	subject, base []sample
	disk          sample // the bare disk before it; nil: not measured
}

// A figure is one metric of a result.
type figure struct {
	Metric   string    `json:"metric"`
	Unit     string    `json:"unit,omitempty"`
	Meridian float64   `json:"meridian"`        // median
	Base     *float64  `json:"base,omitempty"`  // median
	Ratio    *float64  `json:"ratio,omitempty"` // median of the ratios of the pairs
	Runs     []float64 `json:"runs"`            // every run
	BaseRuns []float64 `json:"base_runs,omitempty"`
	Bound    string    `json:"bound,omitempty"`
	Missed   bool      `json:"missed,omitempty"`
	limit    string    // the bound, without the metric's name
}

// figures returns the metrics in order.
func (r *result) figures() []figure {
	subject, base := median(r.subject), median(r.base)
	var list []figure
	for _, m := range metrics {
		v, ok := subject[m]
		if !ok {
			continue
		}
		f := figure{Metric: m.Name, Unit: m.Unit, Meridian: v, Runs: column(r.subject, m)}
		if w, ok := base[m]; ok {
			f.Base, f.BaseRuns = &w, column(r.base, m)
			f.Ratio = ratio(f.Runs, f.BaseRuns)
		}
		for _, b := range r.row.bounds {
			if b.of == m {
				f.Bound = b.String()
				f.Missed = b.missed(v, f.Ratio)
				f.limit = b.limit()
			}
		}
		list = append(list, f)
	}
	return list
}

// ratio returns the median of the pairs' ratios: the two runs of a pair were neighbours in
// time, so what else the machine did weighs on both.
func ratio(subject, base []float64) *float64 {
	var v []float64
	for i := range min(len(subject), len(base)) {
		if base[i] > 0 {
			v = append(v, subject[i]/base[i])
		}
	}
	if len(v) == 0 {
		return nil
	}
	m := medianOf(v)
	return &m
}

func column(samples []sample, m metric) []float64 {
	v := make([]float64, len(samples))
	for i, s := range samples {
		v[i] = s[m]
	}
	return v
}

func (r *result) missed() bool {
	for _, f := range r.figures() {
		if f.Missed {
			return true
		}
	}
	return false
}

func (r *result) print(cfg Config) error {
	figures := r.figures()
	if cfg.JSON {
		line := map[string]any{
			"row": r.row.name, "about": r.row.about, "flow_control": r.flow, "base": r.row.baseName,
			"pairs": len(r.subject), "seconds": cfg.For.Seconds(), "figures": figures,
		}
		if len(r.disk) > 0 {
			line["disk_p50_ms"], line["disk_p99_ms"] = r.disk[ackP50], r.disk[ackP99]
		}
		return json.NewEncoder(cfg.Out).Encode(line)
	}
	flow := ""
	if r.row.flow {
		flow = ", session flow control off"
		if r.flow {
			flow = ", session flow control on"
		}
	}
	fmt.Fprintf(cfg.Out, "%s: %s%s\n", r.row.name, r.row.about, flow)
	fmt.Fprintf(cfg.Out, "runs: %s", r.runs(cfg))
	if len(r.disk) > 0 {
		fmt.Fprintf(cfg.Out, "; before them, the disk alone: fdatasync p50 %s, p99 %s ms", number(r.disk[ackP50]), number(r.disk[ackP99]))
	}
	fmt.Fprintln(cfg.Out)
	w := tabwriter.NewWriter(cfg.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	base := r.row.baseName
	if base == "" {
		base = "-"
	}
	fmt.Fprintf(w, "\tmeridian\t%s\tratio\tmust\t\tpairs (meridian/%s)\t\n", base, base)
	for _, f := range figures {
		name := f.Metric
		if f.Unit != "" {
			name += ", " + f.Unit
		}
		baseText, ratioText, verdict := "-", "-", ""
		if f.Base != nil {
			baseText = number(*f.Base)
		}
		if f.Ratio != nil {
			ratioText = fmt.Sprintf("%.2f", *f.Ratio)
		}
		if f.Bound != "" && (f.Ratio != nil || !strings.HasSuffix(f.Bound, "×")) {
			verdict = "ok"
			if f.Missed {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
			name, number(f.Meridian), baseText, ratioText, f.limit, verdict, f.pairs())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cfg.Out)
	return err
}

// pairs returns every run: subject/base.
func (f *figure) pairs() string {
	var list []string
	for i, v := range f.Runs {
		s := number(v)
		if i < len(f.BaseRuns) {
			s += "/" + number(f.BaseRuns[i])
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

func number(v float64) string {
	switch {
	case v >= 1000 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
