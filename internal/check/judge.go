package check

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A ref names a line of a log; the zero ref names none.
type ref struct {
	log  uint32 // from 1
	line uint32
}

// A judge is one Run.
type judge struct {
	// Set at construction.
	cfg    Config
	logs   []*Log
	clocks []int // of each log: logs with the same number have the same clock
	nclock int

	byName   map[relay.Channel]*channel
	channels []*channel // in the order in which they were first seen
	names    [][]*channel
	ops      []map[uint64]op
	subs     []map[uint64]*reader
	readers  []*reader

	found  []Violation
	counts Counts
}

// An op is an attempt.
type op struct {
	channel *channel
	message *message
	begun   ref
	void    bool
	ended   bool
}

// A channel is all that is known of one.
type channel struct {
	name   relay.Channel
	kept   bool
	epochs bool

	messages map[uint64]*message // by digest
	listed   []*message          // in the order of their first attempts
	numbers  map[number]*numbered
	producer []*numbered // in the order in which they were first seen
	slots    map[relay.Position]*slot

	known   []evidence // in the order of positions
	acked   []int      // known[:i] has so many that were acknowledged
	acks    []series   // by clock: acknowledgements, in the order of times
	seen    []series   // by clock: those and deliveries
	readers []*reader
	own     bool // publishers of it have logs
}

// A number is a producer's.
type number struct {
	producer string
	n        uint64
}

// A numbered is what became of a number.
type numbered struct {
	number
	at     relay.Position // zero: it is not known to stand
	shown  ref            // what shows at
	voided ref            // an answer that it was used up without a message
	begun  ref            // its first attempt
}

// A message is a payload, and what was attempted to publish it.
type message struct {
	digest   uint64
	number   *numbered // nil: none, or more than one
	begun    ref       // the first attempt
	attempts int
	copies   int // how often it may appear
	open     int // attempts without a definite refusal, and not acknowledged
	ack      ref
	refused  ref            // a definite refusal
	at       relay.Position // where it stands; the first place that is known
	shown    ref            // what shows at
	places   int
	clock    int   // of its first attempt; -1: attempts have several
	start    int64 // of the first attempt
}

// A slot is a position that a message is known to have had.
type slot struct {
	digest uint64
	ack    ref // zero: none
	seen   ref // the first delivery; zero: none
	since  int64
	clock  int
}

func (s *slot) shown() ref {
	if s.ack != (ref{}) {
		return s.ack
	}
	return s.seen
}

// An evidence is a position that was acknowledged or delivered.
type evidence struct {
	at   relay.Position
	slot *slot
}

func newJudge(cfg Config, logs []*Log) *judge {
	if cfg.Skew == 0 {
		cfg.Skew = time.Second
	}
	if cfg.Most == 0 {
		cfg.Most = 10
	}
	j := &judge{cfg: cfg, logs: logs, byName: make(map[relay.Channel]*channel)}
	j.counts.BrokenBy = make(map[Promise]int)
	clocks := make(map[string]int)
	for i, l := range logs {
		c, ok := clocks[l.clock]
		if !ok || l.clock == "" {
			c = j.nclock
			clocks[l.clock] = c
			j.nclock++
		}
		j.clocks = append(j.clocks, c)
		j.names = append(j.names, make([]*channel, len(l.names)))
		j.ops = append(j.ops, make(map[uint64]op))
		j.subs = append(j.subs, make(map[uint64]*reader))
		j.counts.Lines += logs[i].Len()
	}
	return j
}

// each calls f for every line.
func (j *judge) each(f func(log int, x *line, at ref)) {
	for i, l := range j.logs {
		for k := range l.lines {
			f(i, &l.lines[k], ref{uint32(i + 1), uint32(k)})
		}
	}
}

// channel returns the channel that a log calls so.
func (j *judge) channel(log int, name uint32) *channel {
	if c := j.names[log][name]; c != nil {
		return c
	}
	ch := relay.Channel(j.logs[log].names[name])
	c := j.byName[ch]
	if c == nil {
		c = &channel{
			name: ch, messages: make(map[uint64]*message), numbers: make(map[number]*numbered),
			slots: make(map[relay.Position]*slot),
			kept:  matches(j.cfg.Kept, ch), epochs: matches(j.cfg.Epochs, ch),
		}
		j.byName[ch] = c
		j.channels = append(j.channels, c)
		j.counts.Channels++
	}
	j.names[log][name] = c
	return c
}

func matches(patterns []relay.Pattern, ch relay.Channel) bool {
	for _, p := range patterns {
		if p.Match(ch) {
			return true
		}
	}
	return false
}

func (j *judge) line(r ref) *line { return &j.logs[r.log-1].lines[r.line] }

func (j *judge) clockOf(r ref) int { return j.clocks[r.log-1] }

// violation notes a broken promise. Lines that are none, or there already, are left out.
func (j *judge) violation(p Promise, c *channel, refs []ref, format string, args ...any) {
	j.counts.Broken++
	j.counts.BrokenBy[p]++
	// Of every promise the first is told, so that a flood of one does not hide another.
	if len(j.found) >= j.cfg.Most && j.counts.BrokenBy[p] > 1 {
		return
	}
	v := Violation{Promise: p, Channel: c.name, What: fmt.Sprintf(format, args...)}
	had := make(map[ref]bool)
	for _, r := range refs {
		if r == (ref{}) || had[r] {
			continue
		}
		had[r] = true
		l := j.logs[r.log-1]
		text, err := json.Marshal(l.record(&l.lines[r.line]))
		if err != nil {
			text = []byte(err.Error())
		}
		// The first line of a file is its header.
		v.Lines = append(v.Lines, Line{File: l.Name, Number: int(r.line) + 2, Text: string(text)})
	}
	j.found = append(j.found, v)
}
