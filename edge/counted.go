package edge

import "github.com/meridian-relay/meridian/relay"

var _ relay.Upstream = countedUpstream{}

// A countedUpstream counts publishes by their answers. Deliveries are counted where they are
// made: a wrapper of every subscription would cost each one memory, and each delivery a look.
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
		u.count.answered(relay.Refusal(err).Code)
	}
	return err
}
