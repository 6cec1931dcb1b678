package client

import (
	"slices"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Bounds of the producer's rules (docs/protocol.md, "Order and once").
const (
	window      = 1024            // numbers in flight: what the home's table remembers
	maxAge      = 5 * time.Minute // since the first attempt; older is never sent
	maxRenewals = 3               // producers that one message is tried under after too_old
	restAfter   = 5 * time.Minute // unused for so long: a new producer (the home forgets at ten)
)

// A letter is one publish on its way.
type letter struct {
	body   []byte // lent to the session while it flies
	result func(relay.Position, error)
	outlet *outbox

	n        uint64     // 0: not yet numbered
	first    time.Time  // first sent under this number; zero: never
	attempt  uint32     // counts sends; the answer to an earlier one is late
	renewals int        // producers that it was refused under as too old
	flying   bool       // sent, unanswered
	leads    bool       // everything before it was answered when it was sent
	asVoid   bool       // the latest send was void
	void     bool       // the next send is void
	maybe    bool       // an earlier send may have taken effect
	done     bool       // nothing more is to come of it
	told     bool       // the caller has its answer
	refusal  *relay.End // why it became void; nil: it did not, or the caller gave up
}

// letterCost is what a letter costs beside its body, in bytes.
const letterCost = 256

func (l *letter) cost() int { return len(l.body) + letterCost }

// An outcome is what a caller is to be told.
type outcome struct {
	letter *letter
	at     relay.Position
	err    error
}

// An outbox holds one channel's unanswered publishes in order, under one producer, and decides
// what to send next: go-back-N. It is pure: time, answers and losses come in, letters and
// outcomes go out. Not for concurrent use.
//
// After a retryable refusal it goes back to the number refused, once everything in flight was
// answered. Where the home was not there it tries with one message until one is acknowledged: a
// whole window at each attempt would keep a home that comes back from coming back. A letter that was refused for good, or given up, goes on as void until its number
// is used up. A producer that the home knows no more is replaced (too_old, or out_of_order for
// a number that leads); what may have taken effect under it is reported as unknown, the rest is
// sent again under the new one.
type outbox struct {
	// Set at construction.
	channel relay.Channel
	once    bool                  // the one message of an id: its producer and number stay
	draw    func() relay.Producer // a producer that was never used

	producer relay.Producer
	letters  []*letter // in order; letters[i] has number base+i if i < numbered, else none
	base     uint64
	numbered int
	cursor   int // the next to send. Invariant: cursor <= numbered <= len(letters)
	flight   int // Invariant: the number of letters that fly

	recovering bool // went back: nothing is sent until flight is 0
	probing    bool // the home was not there: one is sent alone, until one is acknowledged
	spent      bool // the producer takes no more numbers: renewed once flight is 0
	notBefore  time.Time
	failures   int       // retryable refusals in a row
	used       time.Time // last push or success
	outcomes   []outcome // for the owner to take
	ended      int       // letters that are done, for the owner to take
	freed      int       // their cost in bytes
}

func newOutbox(ch relay.Channel, draw func() relay.Producer, now time.Time) *outbox {
	return &outbox{channel: ch, draw: draw, producer: draw(), base: 1, used: now}
}

// newOnceOutbox is for the one message that an id stands for.
func newOnceOutbox(ch relay.Channel, producer relay.Producer, now time.Time) *outbox {
	return &outbox{channel: ch, once: true, producer: producer, base: 1, used: now}
}

// push adds a publish at the end.
func (o *outbox) push(l *letter, now time.Time) {
	if o.idle() && elapsed(o.used, now) >= restAfter {
		o.renew()
	}
	l.outlet, o.used = o, now
	o.letters = append(o.letters, l)
}

// next returns the letter to send now and counts it as flying; nil: none for now.
func (o *outbox) next(now time.Time) *letter {
	if o.spent || now.Before(o.notBefore) || (o.recovering || o.probing) && o.flight > 0 {
		return nil
	}
	o.recovering = false
	for o.cursor < o.numbered && o.letters[o.cursor].done {
		o.cursor++
	}
	if o.cursor == len(o.letters) || o.cursor >= window {
		return nil
	}
	l := o.letters[o.cursor]
	switch {
	case o.once && l.told: // an id is never used up as void: it may be published again
		o.finish(l, relay.Position{}, nil)
		o.trim()
		return nil
	case l.n == 0:
		l.n, l.first = o.base+uint64(o.cursor), now
		o.numbered++
	case elapsed(l.first, now) > maxAge:
		o.spent = true
		if o.flight > 0 {
			return nil
		}
		o.settle()
		return o.next(now) // what never took effect goes on under a new producer
	}
	l.flying, l.asVoid, l.leads = true, l.void, l.n == o.base
	l.attempt++
	o.flight++
	o.cursor++
	return l
}

// unsent takes back the letter that next returned last: the session's queue is full.
func (o *outbox) unsent(l *letter) {
	l.flying = false
	l.attempt--
	o.flight--
	o.cursor--
	if l.attempt == 0 && o.cursor == o.numbered-1 {
		l.n, l.first = 0, time.Time{} // its number was never seen
		o.numbered--
	}
}

// publication returns what is sent for l.
func (o *outbox) publication(l *letter, now time.Time) relay.Publication {
	p := relay.Publication{
		Channel: o.channel, Producer: o.producer, N: l.n, Age: elapsed(l.first, now), Void: l.asVoid,
	}
	if !l.asVoid {
		p.Body = l.body
	}
	return p
}

// idle reports whether nothing waits, for an answer or for being sent.
func (o *outbox) idle() bool { return len(o.letters) == 0 }

// wakeAt returns when next is worth a call without a further event; zero: never.
func (o *outbox) wakeAt() time.Time {
	if o.spent || (o.recovering || o.probing) && o.flight > 0 || o.cursor == len(o.letters) || o.cursor >= window {
		return time.Time{}
	}
	return o.notBefore
}

// lost says that the session ended, or was replaced: what flew may have arrived or not.
func (o *outbox) lost() {
	for _, l := range o.letters[:o.numbered] {
		l.maybe = l.maybe || l.flying
		l.flying = false
	}
	o.flight, o.cursor, o.failures = 0, 0, 0
	o.recovering, o.probing, o.notBefore = false, false, time.Time{}
	o.settle()
}

// cancel gives l up: its caller is told by who calls. One without a number goes at once; another
// goes on as void, so that its number is used up.
func (o *outbox) cancel(l *letter) {
	if l.done {
		return
	}
	l.told = true
	if l.n == 0 {
		i := slices.Index(o.letters, l)
		o.letters = slices.Delete(o.letters, i, i+1)
		o.end(l)
		return
	}
	l.void = !o.once
}

// inDoubt reports whether l may have taken effect.
func (l *letter) inDoubt() bool { return l.flying || l.maybe }

// elapsed is the time from a to b on the clock that says more: the monotonic one stands still
// while a computer sleeps, the other can be set.
func elapsed(a, b time.Time) time.Duration {
	return max(b.Sub(a), b.Round(0).Sub(a.Round(0)), 0)
}
