package shard

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/meridian-relay/meridian/internal/planted"
	"github.com/meridian-relay/meridian/relay"
)

const (
	readAgain  = 10              // ticks after which a question without an answer is asked again
	readWithin = 5 * time.Second // after which a barrier is refused
	maxReads   = 4               // questions on their way; barriers that come then share the next
	maxAsking  = 1 << 16         // barriers that wait to be asked for
)

// A barrier waits for the state to have everything that was acknowledged before.
type barrier struct {
	done func(relay.End)
	at   time.Time
}

// A read is a question to the leader: where does the log stand?
type read struct {
	id      uint64
	tick    uint64 // when it was asked
	known   bool
	index   uint64 // if known
	waiters []barrier
}

// Barrier asks where a state has to stand so that it has everything that was acknowledged
// before: done is called once, when the replica has applied that, or with the End of a refusal.
func (h *Host) Barrier(s ID, done func(end relay.End)) {
	defer h.guard()
	r := h.shards[s]
	switch {
	case r == nil:
		done(nobody(s))
	case r.stopped || h.err != nil || r.descriptor == nil:
		done(r.refusal())
	case len(r.asking) >= maxAsking:
		done(relay.End{Code: relay.Busy, RetryAfter: relay.BusyRetry, Detail: fmt.Sprintf("%d barriers wait for %v", maxAsking, s)})
	case planted.On(planted.NoCheckQuorum) && r.role == Leading:
		done(relay.End{})
	default:
		r.asking = append(r.asking, barrier{done, h.cfg.Now()})
		r.wake()
		r.mark()
	}
}

// ask asks for all barriers that came since. A leader that does not serve yet may not know what
// is committed: raft answers for it all the same where there is no other voter.
func (r *replica) ask() {
	if r.leads && r.role != Leading {
		return
	}
	if len(r.asking) == 0 || r.leader == 0 || len(r.reads) >= maxReads {
		return
	}
	q := read{id: r.h.next(), tick: r.h.ticks, waiters: r.asking}
	r.asking = nil
	r.reads = append(r.reads, q)
	r.node.ReadIndex(binary.BigEndian.AppendUint64(nil, q.id))
}

// readAt takes the leader's answer.
func (r *replica) readAt(s raft.ReadState) {
	if len(s.RequestCtx) != 8 {
		return
	}
	id := binary.BigEndian.Uint64(s.RequestCtx)
	for i := range r.reads {
		if q := &r.reads[i]; q.id == id {
			q.known, q.index = true, s.Index
		}
	}
	r.readsApplied()
}

// readsApplied lets those through whose index is applied.
func (r *replica) readsApplied() {
	for i := 0; i < len(r.reads); {
		q := r.reads[i]
		if !q.known || q.index > r.applied {
			i++
			continue
		}
		r.reads = append(r.reads[:i], r.reads[i+1:]...)
		for _, b := range q.waiters {
			b.done(relay.End{})
		}
		r.mark()
	}
}

// expireReads asks again what was lost on the way, and refuses what waited too long.
func (r *replica) expireReads(now time.Time) {
	if len(r.asking)+len(r.reads) == 0 {
		return
	}
	for i := 0; i < len(r.reads); {
		q := r.reads[i]
		if q.known || r.h.ticks-q.tick < readAgain {
			i++
			continue
		}
		r.reads = append(r.reads[:i], r.reads[i+1:]...)
		r.asking = append(q.waiters, r.asking...)
	}
	late := now.Add(-readWithin)
	var refused []barrier
	r.asking, refused = expired(r.asking, late, refused)
	for i := range r.reads { // what is known is perhaps never applied here
		r.reads[i].waiters, refused = expired(r.reads[i].waiters, late, refused)
	}
	r.reads = slices.DeleteFunc(r.reads, func(q read) bool { return q.known && len(q.waiters) == 0 })
	for _, b := range refused {
		b.done(relay.End{Code: relay.Unavailable, RetryAfter: 100 * time.Millisecond,
			Detail: r.id.Shard.String() + ": its leader does not answer"})
	}
}

// expired moves what waits since late, or before, from list to refused.
func expired(list []barrier, late time.Time, refused []barrier) (keep, all []barrier) {
	keep = list[:0]
	for _, b := range list {
		if b.at.After(late) {
			keep = append(keep, b)
		} else {
			refused = append(refused, b)
		}
	}
	clear(list[len(keep):])
	return keep, refused
}
