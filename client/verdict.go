package client

import (
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A verdict is what an answer to a publish means for its producer.
type verdict uint8

const (
	vRefused verdict = iota // for good; the number is unused, so it must be used up
	vRetry                  // not by this attempt: go back
	vOpen                   // applied or not: go back
	vUsed                   // the number is used, but not by this message
	vTooOld                 // the producer is closed, or the home cannot tell
)

func judge(c relay.Code) verdict {
	switch c {
	case relay.Voided, relay.Conflict:
		return vUsed
	case relay.TooOld:
		return vTooOld
	case relay.OutOfOrder, relay.Busy, relay.PublishRate, relay.ByteRate, relay.RequestRate,
		relay.ReadOnly, relay.Moved, relay.Unauthorized, relay.TokenExpired:
		return vRetry
	}
	if c.Retry() == relay.Final {
		return vRefused
	}
	return vOpen
}

// absent reports whether a home that answers so takes nothing from anybody just now.
func absent(c relay.Code) bool {
	switch c {
	case relay.Unavailable, relay.ReadOnly, relay.Moved, relay.GoingAway, relay.Internal:
		return true
	}
	return false
}

// answer takes the answer to one attempt at l. jitter is in [0, 1).
func (o *outbox) answer(l *letter, attempt uint32, at relay.Position, end relay.End, now time.Time, jitter float64) {
	if l.done {
		return
	}
	late := !l.flying || l.attempt != attempt
	if !late {
		l.flying = false
		o.flight--
	}
	switch {
	case end.Code == relay.Done: // also when late: it stands
		if l.flying {
			l.flying = false
			o.flight--
		}
		o.failures, o.probing, o.used = 0, false, now
		o.finish(l, at, nil)
	case !late:
		o.refuse(l, end, now, jitter)
	}
	o.trim()
	o.settle()
}

func (o *outbox) refuse(l *letter, end relay.End, now time.Time, jitter float64) {
	v := judge(end.Code)
	if v != vRetry && v != vOpen {
		o.probing = false // the home is there, if only to refuse
	}
	switch {
	case v == vUsed && l.refusal != nil:
		o.finish(l, relay.Position{}, l.refusal.Err())
	case v == vUsed:
		o.finish(l, relay.Position{}, end.Err())
	case end.Code == relay.OutOfOrder && l.leads && l.n > 1:
		o.spent = true // the home answered the number before, and has forgotten it
	case v == vRetry || v == vOpen:
		l.maybe = l.maybe || v == vOpen
		if int(l.n-o.base) >= o.cursor {
			return // it went back further already
		}
		o.failures++
		o.probing = o.probing || absent(end.Code)
		o.back(l, now.Add(retryDelay(end, o.failures, jitter)))
	case v == vTooOld && !o.once:
		o.spent = true
		if l.renewals++; l.renewals > maxRenewals {
			o.finish(l, relay.Position{}, l.failure(end))
		}
	case o.once:
		o.finish(l, relay.Position{}, l.failure(end))
	case l.asVoid: // the number cannot even be used up
		if l.refusal == nil {
			l.refusal = &end
		}
		o.spent = true
		o.finish(l, relay.Position{}, l.failure(*l.refusal))
	default:
		l.void, l.refusal = true, &end
		if !l.maybe {
			o.tell(l, relay.Position{}, end.Err())
		}
		o.back(l, time.Time{})
	}
}

// failure is the error for l, which will not be sent again after end.
func (l *letter) failure(end relay.End) error {
	if l.maybe {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, end.Err())
	}
	return end.Err()
}

// back goes back to l, and sends nothing before the time given.
func (o *outbox) back(l *letter, notBefore time.Time) {
	o.cursor = min(o.cursor, int(l.n-o.base))
	o.recovering = true
	if notBefore.After(o.notBefore) {
		o.notBefore = notBefore
	}
}

// tell gives l's caller its answer, once.
func (o *outbox) tell(l *letter, at relay.Position, err error) {
	if !l.told {
		l.told = true
		o.outcomes = append(o.outcomes, outcome{l, at, err})
	}
}

// finish ends l and tells its caller.
func (o *outbox) finish(l *letter, at relay.Position, err error) {
	o.end(l)
	o.tell(l, at, err)
}

// end ends l.
func (o *outbox) end(l *letter) {
	l.done = true
	o.ended++
	o.freed += l.cost()
}

// trim removes what is done from the front.
func (o *outbox) trim() {
	k := 0
	for k < o.numbered && o.letters[k].done {
		o.letters[k] = nil
		k++
	}
	o.letters = o.letters[k:]
	o.base += uint64(k)
	o.numbered -= k
	o.cursor = max(o.cursor-k, 0)
	if o.idle() {
		o.letters = nil // keeps no array alive
	}
}

// settle replaces a spent producer as soon as nothing flies.
func (o *outbox) settle() {
	if o.spent && o.flight == 0 {
		o.renew()
	}
}

// renew takes a new producer. What may have taken effect under the old one is reported as
// unknown; a number that was only to be used up needs that no more.
func (o *outbox) renew() {
	kept := o.letters[:0]
	for _, l := range o.letters {
		switch {
		case l.done:
			continue
		case l.maybe && l.refusal != nil:
			o.finish(l, relay.Position{}, l.failure(*l.refusal))
			continue
		case l.maybe:
			o.finish(l, relay.Position{}, ErrUnknownOutcome)
			continue
		case l.told || l.void:
			o.end(l)
			continue
		}
		l.n, l.first = 0, time.Time{}
		kept = append(kept, l)
	}
	clear(o.letters[len(kept):])
	o.letters = kept
	o.base, o.numbered, o.cursor = 1, 0, 0
	o.spent, o.recovering, o.probing, o.failures = false, false, false, 0
	if !o.once {
		o.producer = o.draw()
	}
}

// abandon ends every letter with err: the client is closed.
func (o *outbox) abandon(err error) {
	for _, l := range o.letters {
		switch {
		case l.done:
		case l.inDoubt():
			o.finish(l, relay.Position{}, fmt.Errorf("%w: %w", err, ErrUnknownOutcome))
		default:
			o.finish(l, relay.Position{}, err)
		}
		l.flying = false
	}
	o.letters, o.base, o.numbered, o.cursor, o.flight = nil, 1, 0, 0, 0
	o.spent = false
	if !o.once {
		o.producer = o.draw()
	}
}
