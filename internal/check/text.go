package check

import (
	"bufio"
	"fmt"
	"io"
)

// Print writes a verdict for a person: what was broken, with the lines that show it, and what the
// verdict rests on.
func (v *Verdict) Print(out io.Writer) error {
	w := bufio.NewWriter(out)
	for i := range v.Violations {
		fmt.Fprintln(w, v.Violations[i].String())
	}
	if more := v.Counts.Broken - len(v.Violations); more > 0 {
		fmt.Fprintf(w, "and %d more\n\n", more)
	}
	c := &v.Counts
	fmt.Fprintf(w, "%d lines, %d channels\n", c.Lines, c.Channels)
	fmt.Fprintf(w, "published:  %d messages in %d attempts (at most %d for one): %d acknowledged, %d open, of which %d appeared\n",
		c.Publishes, c.Attempts, c.MostRepeated, c.Acknowledged, c.Open, c.Appeared)
	fmt.Fprintf(w, "subscribed: %d times, %d with barrier, resumed %d times, %d waited for: %d messages, %d gaps of retention, %d of epochs\n",
		c.Subscriptions, c.Barriers, c.Resumed, c.Drains, c.Messages, c.Trimmed, c.Epochs)
	fmt.Fprintf(w, "replicas:   %d histories of channels\n", c.Histories)
	if v.OK() {
		fmt.Fprintln(w, "ok")
	} else {
		fmt.Fprintf(w, "BROKEN: %d violations\n", c.Broken)
	}
	return w.Flush()
}

// String returns a violation and its lines.
func (x *Violation) String() string {
	s := fmt.Sprintf("%s broken in %s: %s\n", x.Promise, x.Channel, x.What)
	for _, l := range x.Lines {
		s += fmt.Sprintf("  %s:%d: %s\n", l.File, l.Number, l.Text)
	}
	return s
}
