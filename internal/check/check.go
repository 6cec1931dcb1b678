package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A Promise is one of the design's: P1 to P5 and P10; P6 and P7 need other logs.
type Promise string

// The promises that Run decides.
const (
	P1  Promise = "P1"  // an acknowledged publish survives
	P2  Promise = "P2"  // in order, none twice, none missing, or a Gap first
	P3  Promise = "P3"  // only what is committed is delivered, and does not cease to exist
	P4  Promise = "P4"  // a subscription is a barrier
	P5  Promise = "P5"  // a repeated publish takes effect once
	P10 Promise = "P10" // a producer's messages commit in the order sent
)

// A Config says what was to be expected. The zero value expects that nothing is lost but what
// retention removes.
type Config struct {
	// Kept are channels whose retention removes nothing during the run.
	Kept []relay.Pattern
	// Epochs are channels that may begin a new epoch and lose what it leaves behind: of the
	// class ephemeral, recovered by force, or forgotten and begun again.
	Epochs []relay.Pattern
	// Partial: not every publisher has a log here, so messages of unknown origin are right.
	Partial bool
	// Skew is by how much clocks of different logs may differ. 0: 1 s.
	Skew time.Duration
	// Most bounds how many violations are told; the rest are counted. 0: 10.
	Most int
}

// A Verdict is what the logs show.
type Verdict struct {
	Violations []Violation // the first ones, by promise
	Counts     Counts
}

// OK reports whether no promise was broken.
func (v *Verdict) OK() bool { return len(v.Violations) == 0 }

// A Violation is a broken promise, and the lines that show it.
type Violation struct {
	Promise Promise
	Channel relay.Channel
	What    string
	Lines   []Line
}

// A Line is a line of a log.
type Line struct {
	File   string
	Number int
	Text   string
}

// Counts tell what a verdict rests on.
type Counts struct {
	Lines, Channels  int
	Publishes        int // messages, each with one attempt or more
	Attempts         int
	Acknowledged     int // messages
	Open             int // messages whose outcome is unknown
	Appeared         int // of these, seen
	Subscriptions    int
	Messages         int // delivered to them
	Trimmed          int // gaps, also those that compacted
	Epochs           int // gaps
	Resumed          int
	Histories        int // of channels, as replicas have them
	Broken           int // violations, also those not told
	BrokenBy         map[Promise]int
	MostRepeated     int // attempts of one message
	Barriers, Drains int
}

// Run judges logs. It takes time in proportion to their length, sorting aside, and memory for a
// small record of every line.
func Run(cfg Config, logs ...*Log) *Verdict {
	j := newJudge(cfg, logs)
	j.readPublishes()
	j.readAnswers()
	j.readDeliveries()
	j.index()
	j.follow()
	for _, c := range j.channels {
		j.outcomes(c)
		j.order(c)
		j.realTime(c)
		j.replicas(c)
	}
	v := &Verdict{Violations: j.found, Counts: j.counts}
	slices.SortStableFunc(v.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(len(a.Promise), len(b.Promise)), cmp.Compare(a.Promise, b.Promise))
	})
	return v
}
