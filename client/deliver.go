package client

import (
	"context"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// run moves letters until ctx ends, then ends what is left with the error of shut.
func (co *courier) run(ctx context.Context) {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	co.sweepAt = time.Now().Add(sweepEvery)
	for {
		wakeAt := co.pass(ctx.Err() != nil)
		if ctx.Err() != nil {
			return
		}
		timer.Reset(time.Until(wakeAt))
		select {
		case <-co.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// pass takes answers in, sends what can be sent, tells callers, and returns when it is worth
// another without an event. At the end of all it abandons what is left.
func (co *courier) pass(end bool) (wakeAt time.Time) {
	co.answersMu.Lock()
	answers := co.answers
	co.answers = nil
	co.answersMu.Unlock()

	co.mu.Lock()
	now := time.Now()
	var outcomes []outcome
	for _, a := range answers {
		if a.conn == co.conn {
			co.pace.answered(a.end, now, jitter())
		}
		o := a.letter.outlet
		o.answer(a.letter, a.attempt, a.at, a.end, now, jitter())
		outcomes = co.collect(o, outcomes)
		co.ready(o)
	}
	if len(answers) > 0 {
		co.stalled = time.Time{}
	}
	if co.conn != co.next {
		co.conn, co.stalled, co.pace = co.next, time.Time{}, pace{} // the limits are the session's
		renamed := co.rename()
		for o := range co.active {
			o.spent = o.spent || renamed
			o.lost()
			outcomes = co.collect(o, outcomes)
			co.ready(o)
		}
	}
	for o, at := range co.later {
		if !now.Before(at) {
			co.ready(o)
		}
	}
	if end {
		for o := range co.active {
			o.abandon(co.closed)
			outcomes = co.collect(o, outcomes)
		}
	} else if co.conn != nil && !now.Before(co.stalled) && co.pace.open(now) {
		co.stalled = time.Time{}
		outcomes = co.send(now, outcomes)
	}
	if !now.Before(co.sweepAt) {
		co.sweep(now)
	}
	wakeAt = co.sweepAt
	for _, at := range co.later {
		wakeAt = earliest(wakeAt, at)
	}
	wakeAt = earliest(wakeAt, co.stalled)
	if now.Before(co.pace.until) {
		wakeAt = earliest(wakeAt, co.pace.until)
	}
	co.mu.Unlock()

	for _, oc := range outcomes {
		oc.letter.result(oc.at, oc.err)
	}
	return wakeAt
}

// rename reports whether the session speaks for another subject than the last one. Producers
// are bound to the subject: under the new one, the home would apply again what it did before.
func (co *courier) rename() bool {
	if co.conn == nil {
		return false
	}
	renamed := co.named && co.subject != co.conn.subject
	co.subject, co.named = co.conn.subject, true
	if renamed {
		for _, o := range co.boxes {
			if o.idle() {
				o.renew()
			}
		}
	}
	return renamed
}

// send gives every queued outbox its turns. co.mu is held.
func (co *courier) send(now time.Time, outcomes []outcome) []outcome {
	for len(co.queue) > 0 {
		o := co.queue[0]
		sent := 0
		for ; sent < turn; sent++ {
			if !co.pace.open(now) {
				co.yield(sent)
				return co.collect(o, outcomes)
			}
			l := o.next(now)
			if l == nil {
				break
			}
			if !co.hand(o, l, now) {
				o.unsent(l)
				co.stalled = now.Add(relay.BusyRetry)
				co.yield(sent)
				return co.collect(o, outcomes)
			}
		}
		outcomes = co.collect(o, outcomes)
		co.queue[0] = nil
		co.queue = co.queue[1:]
		delete(co.queued, o)
		if sent == turn {
			co.ready(o)
		} else if at := o.wakeAt(); !at.IsZero() {
			co.later[o] = at
		}
	}
	co.queue = nil
	return outcomes
}

// yield ends the turn of the first in the queue, which the session cut short: if it sent
// something it goes behind the others, who would never come where room is always short of a turn.
func (co *courier) yield(sent int) {
	if sent > 0 {
		co.queue = append(co.queue[1:], co.queue[0])
	}
}

// hand gives l to the session, false if its queue is full.
func (co *courier) hand(o *outbox, l *letter, now time.Time) bool {
	conn, attempt := co.conn, l.attempt
	err := conn.session.Publish(o.publication(l, now), func(at relay.Position, end relay.End) {
		co.answersMu.Lock()
		co.answers = append(co.answers, answer{conn, l, attempt, at, end})
		co.answersMu.Unlock()
		co.wake()
	})
	if err != nil {
		return false
	}
	co.pace.flight++
	return true
}

// collect takes o's outcomes and what it freed. co.mu is held.
func (co *courier) collect(o *outbox, to []outcome) []outcome {
	to = append(to, o.outcomes...)
	clear(o.outcomes)
	o.outcomes = o.outcomes[:0]
	if o.ended > 0 {
		co.open -= o.ended
		co.bytes -= o.freed
		o.ended, o.freed = 0, 0
		co.freeRoom()
	}
	if o.idle() {
		delete(co.active, o)
	}
	return to
}

// sweep drops outboxes that were not used for so long that their producers are spent anyway.
func (co *courier) sweep(now time.Time) {
	for ch, o := range co.boxes {
		if o.idle() && elapsed(o.used, now) >= restAfter {
			delete(co.boxes, ch)
			delete(co.later, o)
		}
	}
	co.sweepAt = now.Add(sweepEvery)
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
