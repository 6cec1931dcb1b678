package check

import (
	"encoding/hex"
	"errors"

	"github.com/meridian-relay/meridian/relay"
)

// Upstream returns u, recorded: every attempt to publish, and every subscription with its frames.
// payload returns the payload of a body, as it is published and as it is delivered.
func (r *Recorder) Upstream(u relay.Upstream, payload func(body []byte) []byte) relay.Upstream {
	return &recorded{r, u, payload}
}

type recorded struct {
	r       *Recorder
	of      relay.Upstream
	payload func([]byte) []byte
}

func (u *recorded) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	rec := Publish{Channel: p.Channel, N: p.N, Void: p.Void}
	if !p.Producer.IsZero() {
		// A producer is bound to its subject.
		rec.Producer = string(p.Subject) + "/" + hex.EncodeToString(p.Producer[:])
	}
	if !p.Void {
		rec.Payload = u.payload(p.Body)
	}
	op := u.r.Publish(rec)
	err := u.of.Publish(p, func(at relay.Position, end relay.End) {
		u.r.Answer(op, at, end.Code)
		answer(at, end)
	})
	if err != nil {
		u.r.Answer(op, relay.Position{}, relay.Refusal(err).Code)
	}
	return err
}

func (u *recorded) Subscribe(q relay.SubscribeRequest, wake func()) relay.Subscription {
	s := u.r.Subscribe(q)
	return &recordedSub{s, u.of.Subscribe(q, wake), u.payload}
}

type recordedSub struct {
	s       *Subscriber
	of      relay.Subscription
	payload func([]byte) []byte
}

func (s *recordedSub) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	had := len(dst)
	dst = s.of.Next(dst, maxBytes)
	for _, f := range dst[had:] {
		var payload []byte
		if f.Kind == relay.KindMessage {
			payload = s.payload(f.Body)
		}
		s.s.Frame(f, payload)
	}
	return dst
}

func (s *recordedSub) Close() { s.of.Close() }

// ErrNotRecorded is returned by Drained for a subscription that Recorder.Upstream did not open.
var ErrNotRecorded = errors.New("this subscription is not recorded")

// Drained notes, for a subscription that Recorder.Upstream opened, what Subscriber.Drained does.
func Drained(s relay.Subscription) error {
	r, ok := s.(*recordedSub)
	if !ok {
		return ErrNotRecorded
	}
	r.s.Drained()
	return nil
}

var (
	_ relay.Upstream     = (*recorded)(nil)
	_ relay.Subscription = (*recordedSub)(nil)
)
