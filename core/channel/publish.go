package channel

import (
	"errors"
	"fmt"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// Publish puts a message at the end of its channel, or answers a repetition. It copies p.Body.
func (b *Batch) Publish(p relay.Publication) (relay.Position, relay.End) {
	s, end := b.open(p.Channel)
	if end.Code != relay.Done {
		return relay.Position{}, end
	}
	if p.Producer.IsZero() != (p.N == 0) || p.Void && (p.N == 0 || len(p.Body) > 0) {
		return relay.Position{}, relay.End{Code: relay.BadRequest,
			Detail: "a number needs a producer and a producer a number; a void has no body"}
	}
	if p.Producer.IsZero() {
		if end := checkBody(s.policy, p.Body); end.Code != relay.Done {
			return relay.Position{}, end
		}
		return b.put(s, &p), relay.End{}
	}
	return b.publishOnce(s, &p)
}

func checkBody(policy *Policy, body []byte) relay.End {
	size, err := wire.CheckPublished(body)
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return relay.End{Code: relay.TooLarge, Detail: err.Error()}
	case err != nil:
		return relay.End{Code: relay.BadRequest, Detail: err.Error()}
	case size.Payload > policy.Payload:
		return relay.End{Code: relay.TooLarge, Detail: fmt.Sprintf(
			"payload of %d bytes; this namespace allows %d", size.Payload, policy.Payload)}
	}
	return relay.End{}
}

// begin makes sure that the channel exists and that its epoch goes on.
func (b *Batch) begin(s *state) {
	if s.exists && s.at.Epoch > b.shard.broken {
		return
	}
	if s.exists {
		s.closed = append(s.closed, closedEpoch{s.at.Epoch, s.at.Seq})
		if len(s.closed) > maxClosed {
			s.closed = append(s.closed[:0], s.closed[1:]...)
		}
	}
	s.at = b.shard.head(&s.head, s.exists)
	if s.count == 0 {
		s.first = s.at.Next()
	}
	s.exists, s.dirty = true, true
}

// put appends a message.
func (b *Batch) put(s *state, p *relay.Publication) relay.Position {
	b.begin(s)
	value := make([]byte, 1, 1+len(p.Body)+len(p.Subject)+12)
	value[0] = recordVersion
	value = append(value, p.Body...)
	value = wire.AppendStamp(value, string(p.Subject), b.shard.time)

	s.at = s.at.Next()
	s.count++
	s.bytes += uint64(len(value) - 1)
	s.used, s.dirty = b.shard.time, true
	b.v.Set(appendPlace(b.key[:0], kindMessage, p.Channel, s.at), value)
	b.putKey(s, p.Channel, wire.Key(p.Body))
	b.schedule(s, p.Channel)
	return s.at
}

// putKey makes the message at s.at the newest of its key. What it replaces goes at once where
// Compact has been by already; where messages need not go, Compact has to come by again.
func (b *Batch) putKey(s *state, ch relay.Channel, key []byte) {
	old := s.unkeyed
	if len(key) == 0 {
		s.unkeyed = s.at
	} else {
		old = relay.Position{}
		k := appendKeyKey(b.key[:0], ch, key)
		if v, ok := b.v.Get(k); ok {
			d := newDecoder(v)
			old = d.position()
			d.check("key", ch)
		}
		b.v.Set(k, putPosition([]byte{recordVersion}, s.at))
		if !old.IsZero() {
			b.v.Delete(appendPlace(b.key[:0], kindNewest, ch, old))
		}
		b.v.Set(appendPlace(b.key[:0], kindNewest, ch, s.at), []byte{recordVersion})
	}
	switch {
	case old.IsZero() || s.clean.Before(old):
	case s.policy.Keyed:
		b.remove(s, ch, old)
	default:
		s.clean = before(old)
	}
}

// remove removes the message at p, if it is there.
func (b *Batch) remove(s *state, ch relay.Channel, p relay.Position) {
	key := appendPlace(b.key[:0], kindMessage, ch, p)
	v, ok := b.v.Get(key)
	if !ok {
		return
	}
	s.count--
	s.bytes -= uint64(len(v) - 1)
	s.dirty = true
	b.v.Delete(key)
	if p == s.first {
		b.findFirst(s, ch)
	}
}

// findFirst sets s.first after the message there was removed.
func (b *Batch) findFirst(s *state, ch relay.Channel) {
	from := appendPlace(nil, kindMessage, ch, s.first)
	s.first = s.at.Next()
	for k := range b.v.Ascend(from, appendPlacesEnd(nil, kindMessage, ch)) {
		s.first = keyPosition(k)
		break
	}
	for len(s.closed) > 0 && s.closed[0].epoch < s.first.Epoch {
		s.closed = append(s.closed[:0], s.closed[1:]...)
	}
}
