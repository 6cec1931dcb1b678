package channel

import "github.com/meridian-relay/meridian/relay"

type producerID struct {
	channel relay.Channel
	id      relay.Producer
}

type producer struct{}

type subject struct{}

func (b *Batch) commitProducers() {}

func (b *Batch) publishOnce(s *state, p *relay.Publication) (relay.Position, relay.End) {
	if end := checkBody(s.policy, p.Body); end.Code != relay.Done {
		return relay.Position{}, end
	}
	return b.put(s, p), relay.End{}
}

func (b *Batch) schedule(s *state, ch relay.Channel) {}
