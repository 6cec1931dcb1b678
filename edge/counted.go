package edge

import "github.com/meridian-relay/meridian/relay"

var (
	_ relay.Upstream     = countedUpstream{}
	_ relay.Subscription = (*countedSubscription)(nil)
)

// A countedUpstream counts what passes: publishes by their answers, and deliveries.
type countedUpstream struct {
	relay.Upstream
	count *counts
}

func (u countedUpstream) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	err := u.Upstream.Publish(p, func(at relay.Position, end relay.End) {
		u.count.answered(end.Code)
		answer(at, end)
	})
	if err != nil {
		u.count.answered(relay.Busy)
	}
	return err
}

func (u countedUpstream) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	return &countedSubscription{u.Upstream.Subscribe(r, wake), u.count}
}

type countedSubscription struct {
	relay.Subscription
	count *counts
}

func (s *countedSubscription) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	had := len(dst)
	dst = s.Subscription.Next(dst, maxBytes)
	messages, bytes := 0, 0
	for i := range dst[had:] {
		if f := &dst[had+i]; f.Kind == relay.KindMessage {
			messages++
			bytes += len(f.Body)
		}
	}
	if messages > 0 {
		s.count.delivered.Add(float64(messages))
		s.count.deliveredBytes.Add(float64(bytes))
	}
	return dst
}
