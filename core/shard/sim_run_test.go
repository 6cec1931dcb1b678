package shard_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
)

// A simResult is what a run came to.
type simResult struct {
	hash  uint64
	stats stats
	found []string
	took  time.Duration // simulated
}

// run runs a plan. The seed is raft's too, which draws from crypto/rand.
func run(t *testing.T, p *plan) (o simResult) {
	cryptotest.SetGlobalRandom(t, p.seed)
	s := newSim(p)
	defer func() {
		if r := recover(); r != nil {
			s.fail("panic: %v", r)
			o.found = s.found
		}
	}()
	for s.now < p.length && len(s.found) == 0 {
		s.step()
	}
	s.drain()
	if len(s.found) == 0 {
		s.judge()
	}
	return simResult{s.hash.Sum64(), s.stats, s.found, s.now}
}

// patience is how long after the last fault everything has to be in order again.
const patience = 90 * time.Second

// drain ends all faults, and waits until publishers have their answers and replicas agree.
func (s *sim) drain() {
	s.draining = true
	s.plan.quiet(s)
	until := s.now + patience
	for next := s.now; s.now < until && len(s.found) == 0; {
		s.step()
		if s.now < next {
			continue
		}
		next = s.now + 100*time.Millisecond
		if !slices.ContainsFunc(s.pubs, func(p *publisher) bool { return !p.done() }) && s.settled() == "" {
			return
		}
	}
	if len(s.found) > 0 {
		return
	}
	for _, p := range s.pubs {
		if !p.done() {
			s.fail("publisher %d of %s is stuck at %d, sent %d, node %s, %s", p.index, p.channel, p.low, p.sent, p.node.name, s.settled())
			return
		}
	}
	s.fail("replicas do not agree: %s", s.settled())
}

// quiet ends what disturbs.
func (p *plan) quiet(s *sim) {
	clear(s.cuts)
	for _, n := range s.nodes {
		n.slow = 0
		n.boots(false)
	}
}

// settled says why the replicas of a shard do not stand at the same place, or nothing.
func (s *sim) settled() string {
	for _, id := range s.shards {
		n := s.leader(id)
		if n == nil {
			return fmt.Sprint(id, " has no leader")
		}
		st, _ := n.host.Status(id)
		if st.Role != shard.Leading || st.Applied != st.Last || st.Descriptor == nil || st.Descriptor.Joint {
			return fmt.Sprintf("%v: %+v", id, st)
		}
		for _, m := range st.Descriptor.Members {
			o := s.byName[m.Node]
			if o.host == nil || o.id != m.Store {
				return fmt.Sprint(m, " is down")
			}
			other, ok := o.host.Status(id)
			if !ok || other.Replica.Number != m.Number || other.Applied != st.Applied {
				return fmt.Sprintf("%v: member %d applied %d of %d", id, m.Number, other.Applied, st.Applied)
			}
			rd, ok := o.reads(id)
			if !ok {
				return "no state"
			}
			at, _ := shard.ReadApplied(rd)
			rd.Close()
			if at.Index != st.Applied {
				return "not committed"
			}
		}
	}
	return ""
}

// judge compares the replicas, and lets internal/check judge what clients saw.
func (s *sim) judge() {
	for _, id := range s.shards {
		leader := s.leader(id)
		st, _ := leader.host.Status(id)
		var first []byte
		for _, m := range st.Descriptor.Members {
			rd, _ := s.byName[m.Node].reads(id)
			all := dumpAll(rd)
			if first == nil {
				first = all
			} else if !bytes.Equal(first, all) {
				s.fail("%v: the state of member %d is another one than that of member %d, at entry %d: %s",
					id, m.Number, st.Descriptor.Members[0].Number, st.Applied, firstDifference(first, all))
			}
			for _, ns := range namespaces {
				for i := range 2 {
					s.history(rd, fmt.Sprint(m.Number), relay.Channel(fmt.Sprintf("%s:c%d", namespace(ns, id), i)))
				}
			}
			rd.Close()
		}
		s.mix(uint64(id), st.Applied)
		s.hash.Write(first)
	}
	var cfg check.Config
	for _, id := range s.shards {
		cfg.Kept = append(cfg.Kept, relay.Pattern(namespace("all", id)+":*"))
		if slices.ContainsFunc(s.plan.steps, func(st step) bool { return st.kind == raise }) {
			// A gap may be of retention and of a new epoch at once; it says epoch then.
			cfg.Epochs = append(cfg.Epochs, relay.Pattern(namespace("few", id)+":*"))
		}
	}
	v := check.Run(cfg, s.rec.Log())
	if !v.OK() {
		var b strings.Builder
		_ = v.Print(&b)
		s.fail("%s", b.String())
	}
}

func (s *sim) history(rd shard.Reader, replica string, ch relay.Channel) {
	rec := s.rec.Replica(replica, ch)
	c, f := channel.Open(rd, &relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}}, start.Add(s.now))
	rec.Frame(f, nil)
	for more := true; more; {
		var frames []relay.Frame
		frames, more = c.Read(rd, nil, 1<<20)
		for _, f := range frames {
			rec.Frame(f, payloadOf(f.Body))
		}
	}
}

func dumpAll(r channel.Reader) []byte {
	var b []byte
	for k, v := range r.Ascend([]byte{0}, []byte{0xff}) {
		b = append(append(append(append(b, k...), 0xfe, '='), v...), 0xfe, '\n')
	}
	return b
}

func firstDifference(a, b []byte) string {
	x, y := bytes.Split(a, []byte{0xfe, '\n'}), bytes.Split(b, []byte{0xfe, '\n'})
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("%q, %q", x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d entries", len(x), len(y))
}

// shrink takes away from a plan that fails whatever it fails without.
func shrink(t *testing.T, p *plan, most time.Duration) *plan {
	best := *p
	fails := func(q plan) bool {
		failed := false
		t.Run("shrink", func(t *testing.T) { failed = len(run(t, &q).found) > 0 })
		return failed
	}
	begin := time.Now()
	try := func(change func(*plan)) bool {
		if time.Since(begin) > most {
			return false
		}
		q := best
		q.steps = slices.Clone(best.steps)
		change(&q)
		if !fails(q) {
			return false
		}
		best = q
		return true
	}
	try(func(q *plan) { q.loss, q.duplicate, q.reorder, q.stall = 0, 0, 0, 0 })
	try(func(q *plan) { q.shards = 1 })
	try(func(q *plan) { q.subscribers = 0 })
	try(func(q *plan) { q.publishers = 2 })
	for f := range lastFault {
		if slices.ContainsFunc(best.steps, func(s step) bool { return s.kind == f }) {
			try(func(q *plan) { q.steps = slices.DeleteFunc(q.steps, func(s step) bool { return s.kind == f }) })
		}
	}
	for i := len(best.steps) - 1; i >= 0; i-- {
		try(func(q *plan) { q.steps = slices.Delete(q.steps, i, i+1) })
	}
	try(func(q *plan) { q.loss, q.stall = 0, 0 })
	try(func(q *plan) { q.duplicate, q.reorder = 0, 0 })
	return &best
}

func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d nodes and %d spare, %d shards, %d publishers of %d, %d subscribers, loss %.3f, twice %.3f, out of order %.3f, stall %.3f, log kept %d, latency %v, pace %v\n",
		p.seed, p.nodes, p.spares, p.shards, p.publishers, p.messages, p.subscribers, p.loss, p.duplicate, p.reorder, p.stall, p.lag, p.latency, p.pace)
	for _, s := range p.steps {
		fmt.Fprintln(&b, " ", s)
	}
	return b.String()
}

// TestTrace: the same seed has the same trace.
func TestTrace(t *testing.T) {
	for seed := range uint64(3) {
		var hashes [2]uint64
		for i := range hashes {
			t.Run("", func(t *testing.T) { hashes[i] = run(t, newPlan(seed)).hash })
		}
		if hashes[0] != hashes[1] {
			t.Errorf("seed %d: traces %016x and %016x", seed, hashes[0], hashes[1])
		}
		t.Logf("seed %d: trace %016x", seed, hashes[0])
	}
}
