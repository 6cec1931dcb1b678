package shard

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/relay"
)

const (
	// outcomeWithin is how long a publish waits for its outcome, or to become an entry.
	outcomeWithin = 10 * time.Second
	// publishCost counts for a publish beside its body.
	publishCost = 512
	// pipelined is how many entries have no outcome before publishes wait for each other while
	// one is being written: it is synced while the next fills.
	pipelined = 2
	// maxPipeline is how many have no outcome: on a long way, many.
	maxPipeline = 64
)

// A waiter is a publish that is not in an entry yet.
type waiter struct {
	p      relay.Publication
	answer Answer
	at     time.Time
}

// A queue is publishes that wait, in order.
type queue struct {
	list  []waiter
	head  int
	bytes int // as they will stand in an entry
}

func (q *queue) len() int { return len(q.list) - q.head }

func (q *queue) put(w waiter) {
	q.list = append(q.list, w)
	q.bytes += publishSize(&w.p)
}

func (q *queue) front() *waiter { return &q.list[q.head] }

func (q *queue) pop() {
	w := q.front()
	q.bytes -= publishSize(&w.p)
	*w = waiter{}
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		if cap(q.list) > 4096 {
			q.list = nil
		}
	} else if q.head > len(q.list)/2 && q.head > 1024 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
}

// A proposed is an entry made here, under the present term.
type proposed struct {
	p      *proposal // nil: answered already
	index  uint64    // 0: not seen in the log yet
	change bool      // of the membership
}

// Publish takes a publication for a shard: relay.ErrBusy past the budget. A replica that does
// not lead answers Moved with a hint, or Unavailable where it knows no leader. p.Body is lent
// until the answer.
func (h *Host) Publish(s ID, p relay.Publication, answer Answer) error {
	r := h.shards[s]
	switch {
	case r == nil:
		answer(relay.Position{}, nobody(s))
		return nil
	case !r.leads || r.stopped || h.err != nil:
		answer(relay.Position{}, r.refusal())
		return nil
	}
	cost := publishCost + uint64(len(p.Body))
	if h.used+cost > h.cfg.Budget {
		return relay.ErrBusy
	}
	h.used += cost
	r.waiting.put(waiter{p, answer, h.cfg.Now()})
	r.wake()
	r.mark()
	return nil
}

// flush makes entries of publishes that wait: at once where little is being written, else when
// an entry is full.
func (r *replica) flush() {
	for r.role == Leading && r.moving == nil && r.waiting.len() > 0 {
		if r.waiting.bytes < maxEntry && r.crowded() {
			return
		}
		if r.flying > 0 && r.flying+uint64(min(r.waiting.bytes, maxEntry)) > r.h.cfg.Uncommitted {
			return
		}
		r.gather()
	}
}

// crowded reports whether to wait for company. The way to the other members does not count, so
// that a publish takes one round trip on a long one; but then one sync at a time is enough.
func (r *replica) crowded() bool {
	writing := len(r.writes)+r.fresh > 0
	return writing && len(r.proposed) >= pipelined || len(r.proposed) >= maxPipeline
}

// gather makes one entry.
func (r *replica) gather() {
	h := r.h
	p := &proposal{id: h.next(), at: h.cfg.Now()}
	n := 0
	for size := 0; n < r.waiting.len(); n++ {
		size += publishSize(&r.waiting.list[r.waiting.head+n].p)
		if size > maxEntry && n > 0 {
			break
		}
	}
	p.answers = make([]Answer, 0, n)
	b := appendEntry(h.scratch[:0], p.id, p.at)
	for range n {
		w := r.waiting.front()
		b = appendPublish(b, &w.p)
		p.answers = append(p.answers, w.answer)
		p.size += publishCost + uint64(len(w.p.Body))
		r.waiting.pop()
	}
	if cap(b) <= 4*maxEntry {
		h.scratch = b[:0] // raft has a copy
	}
	if err := r.propose(b, p); err != nil {
		h.answer(p, relay.End{Code: relay.Busy, RetryAfter: relay.BusyRetry,
			Detail: r.id.Shard.String() + " takes no entries for a moment"})
	}
}

func (h *Host) next() uint64 {
	h.ids++
	return h.ids
}

// propose hands an entry to raft, which copies it.
func (r *replica) propose(data []byte, p *proposal) error {
	if err := r.node.Propose(data); err != nil {
		return err
	}
	r.flying += uint64(len(data))
	r.proposed = append(r.proposed, proposed{p: p})
	r.fresh++
	r.wake()
	r.mark()
	return nil
}

// answer gives a proposal its end, without an outcome in the log.
func (h *Host) answer(p *proposal, end relay.End) {
	h.used -= p.size
	for _, answer := range p.answers {
		answer(relay.Position{}, end)
	}
	if p.done != nil {
		p.done(end.Err())
	}
}

// assign learns where in the log the entries made here stand. Nobody else makes entries of a
// term, so they come in the order in which they were proposed, between raft's own, which are
// empty.
func (r *replica) assign(list []*raftpb.Entry) {
	if !r.leads {
		return
	}
	next := 0
	for next < len(r.proposed) && r.proposed[next].index != 0 {
		next++
	}
	for _, e := range list {
		if next == len(r.proposed) {
			return
		}
		if e.GetTerm() != r.term {
			continue
		}
		if len(e.GetData()) == 0 {
			if q := r.proposed[next]; q.change && e.GetType() == raftpb.EntryNormal {
				// Raft refused the change, and put an empty entry in its place.
				r.proposed = append(r.proposed[:next], r.proposed[next+1:]...)
				if q.p != nil {
					r.h.answer(q.p, relay.End{Code: relay.Busy, RetryAfter: time.Second,
						Detail: "another change of membership is under way"})
				}
			}
			continue
		}
		r.proposed[next].index = e.GetIndex()
		next++
	}
}

// outcome returns the proposal of an entry that is handed to an Apply, if it was made here.
func (r *replica) outcome(e *raftpb.Entry) *proposal {
	if len(r.proposed) == 0 || r.proposed[0].index != e.GetIndex() || e.GetTerm() != r.term {
		return nil
	}
	p := r.proposed[0].p
	r.proposed[0] = proposed{}
	r.proposed = r.proposed[1:]
	if len(r.proposed) == 0 {
		r.proposed = nil
	}
	return p
}

// unknown ends what has no outcome yet: what is in the log may still take effect, what waits
// will not.
func (r *replica) unknown(why string) {
	end := relay.End{Code: relay.Unknown, Detail: r.id.Shard.String() + ": " + why}
	list := r.proposed
	r.proposed = nil
	for _, q := range list {
		if q.p != nil {
			r.h.answer(q.p, end)
		}
	}
	r.endChange(end.Err())
	for r.waiting.len() > 0 {
		r.refuse(r.refusal())
	}
}

// refuse ends the first publish that waits.
func (r *replica) refuse(end relay.End) {
	w := *r.waiting.front()
	r.waiting.pop()
	r.h.used -= publishCost + uint64(len(w.p.Body))
	w.answer(relay.Position{}, end)
}

// expire ends what waited too long.
func (r *replica) expire(now time.Time) {
	late := now.Add(-outcomeWithin)
	for i := range r.proposed {
		q := &r.proposed[i]
		if q.p == nil {
			continue
		}
		if q.p.at.After(late) {
			break
		}
		p := q.p
		q.p = nil
		r.h.answer(p, relay.End{Code: relay.Unknown,
			Detail: fmt.Sprintf("%v has no quorum for %v", r.id.Shard, outcomeWithin)})
	}
	for r.waiting.len() > 0 && !r.waiting.front().at.After(late) {
		r.refuse(relay.End{Code: relay.Unavailable, RetryAfter: time.Second,
			Detail: fmt.Sprintf("%v took nothing for %v", r.id.Shard, outcomeWithin)})
	}
}

// Propose puts commands into the log. done is called once: nil when they are applied here.
func (h *Host) Propose(s ID, commands []Command, done func(error)) {
	defer h.guard()
	r := h.shards[s]
	if r == nil {
		done(nobody(s).Err())
		return
	}
	if r.role != Leading || r.stopped || h.err != nil {
		r.due.pending = false
		done(r.refusal().Err())
		return
	}
	if err := r.command(commands, done); err != nil {
		r.due.pending = false
		done(err)
	}
}

// command makes an entry of commands.
func (r *replica) command(commands []Command, done func(error)) error {
	h := r.h
	p := &proposal{id: h.next(), at: h.cfg.Now(), done: done}
	b := appendEntry(nil, p.id, p.at)
	for i := range commands {
		c := &commands[i]
		needs, err := commandVersion(c)
		if err != nil {
			return err
		}
		if c.Version > 0 {
			if err := r.mayRaise(c.Version); err != nil {
				return err
			}
		}
		if v := max(r.descriptor.Version, 1); needs > v {
			return fmt.Errorf("%v has version %d, and the command needs %d: raise it when all members can",
				r.id.Shard, v, needs)
		}
		if b, err = appendCommand(b, c); err != nil {
			return err
		}
	}
	p.size = publishCost + uint64(len(b))
	busy := relay.End{Code: relay.Busy, RetryAfter: relay.BusyRetry, Detail: r.id.Shard.String() + " is full of work"}
	if h.used+p.size > h.cfg.Budget {
		return busy.Err()
	}
	if err := r.propose(b, p); err != nil {
		return busy.Err()
	}
	h.used += p.size
	return nil
}

var errNoCommands = errors.New("shard: a change names what it changes")

// mayRaise refuses a version that a member's node cannot.
func (r *replica) mayRaise(v uint64) error {
	for _, m := range r.descriptor.Members {
		can := r.h.cfg.VersionOf(m.Node)
		if m.Node == r.h.cfg.Node {
			can = r.h.cfg.Version
		}
		if can < v {
			return fmt.Errorf("%v cannot have version %d: node %s can %d (0: not heard of); upgrade it first",
				r.id.Shard, v, m.Node, can)
		}
	}
	return nil
}
