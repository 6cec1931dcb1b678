package client

import (
	"fmt"

	"github.com/meridian-relay/meridian/relay"
)

// A track follows one subscription's positions over all the sessions it runs on: what to ask
// for next, and what to make of each frame. It is pure.
type track struct {
	// Set at construction.
	channel relay.Channel
	first   relay.SubscribeRequest

	begun bool           // the first OK came
	last  relay.Position // everything up to here was yielded, or named in a gap
	left  uint64         // of a limit
	head  relay.Position // where a limited one ends
	holes int            // in a row, without a message between
}

// A trackVerdict says how to go on after a frame.
type trackVerdict uint8

const (
	trackOn   trackVerdict = iota
	trackDone              // the subscription is complete
	trackHole              // messages are missing: open it again
)

func newTrack(ch relay.Channel, o SubscribeOptions) track {
	return track{channel: ch, left: o.Limit, first: relay.SubscribeRequest{
		Channel: ch, From: o.From, Mode: o.Mode, Limit: o.Limit, Barrier: o.Barrier,
	}}
}

// request returns what to ask the next session for.
func (t *track) request() relay.SubscribeRequest {
	r := t.first
	if t.begun {
		r.From = relay.Start{Kind: relay.StartAfter, After: t.last}
		r.Limit, r.Barrier = t.left, false
	}
	return r
}

// take returns the event that fr makes, nil for none. fr is not an End.
func (t *track) take(fr *relay.Frame) (Event, trackVerdict, error) {
	switch fr.Kind {
	case relay.KindOK:
		return t.ok(fr)
	case relay.KindMessage:
		return t.message(fr)
	case relay.KindGap:
		if t.limited() && t.head.Before(fr.Next) {
			return t.gap(fr), trackDone, nil
		}
		return t.gap(fr), trackOn, nil
	case relay.KindStatus:
		return &Status{t.channel, fr.State}, trackOn, nil
	}
	return nil, trackOn, nil
}

func (t *track) limited() bool { return t.first.Limit > 0 }

func (t *track) ok(fr *relay.Frame) (Event, trackVerdict, error) {
	e := &Subscribed{Channel: t.channel, At: fr.At, Head: fr.Next, Resumed: t.begun}
	if t.begun {
		e.At = t.last
	} else {
		t.begun, t.last, t.head = true, fr.At, fr.Next
	}
	if t.limited() && !t.last.Before(t.head) {
		return e, trackDone, nil
	}
	return e, trackOn, nil
}

func (t *track) message(fr *relay.Frame) (Event, trackVerdict, error) {
	if !t.last.Before(fr.At) {
		return nil, trackOn, nil // an overlap of two sessions
	}
	if t.limited() && t.head.Before(fr.At) {
		return nil, trackDone, nil // a later session's head is beyond ours
	}
	if t.first.Mode == relay.Reliable && t.misses(fr.At) {
		if t.holes++; t.holes > 1 {
			return nil, trackDone, fmt.Errorf("%w: %v came after %v", ErrBroken, fr.At, t.last)
		}
		return nil, trackHole, nil
	}
	m, err := decode(t.channel, fr.At, fr.Body)
	if err != nil {
		return nil, trackDone, err
	}
	t.last, t.holes = fr.At, 0
	if t.limited() {
		if t.left--; t.left == 0 || t.last == t.head {
			return m, trackDone, nil
		}
	}
	return m, trackOn, nil
}

// misses reports whether something lies between the last position and at, which comes next.
func (t *track) misses(at relay.Position) bool {
	if t.last.Epoch == at.Epoch {
		return at.Seq != t.last.Seq+1
	}
	return t.last.Seq > 0 // only a gap leads to another epoch
}

// gap moves on to before the gap's end, and names what was not yielded before.
func (t *track) gap(fr *relay.Frame) Event {
	before := fr.Next
	if before.Seq > 0 {
		before.Seq--
	}
	back := !fr.At.Before(fr.Next) // the home is not where it was: it begins again
	if !back && !t.last.Before(before) {
		return nil // of an overlap
	}
	g := &Gap{Channel: t.channel, After: t.last, Next: fr.Next, Reason: fr.Reason}
	if fr.Reason == relay.GapEpoch && fr.At.Before(t.last) {
		g.After = fr.At // what was yielded beyond it may not exist any more
	}
	t.last = before
	return g
}
