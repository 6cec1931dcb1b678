package channel_test

import (
	"slices"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
)

// A model is one channel as a person would write it down: lists, searched from end to end.
type model struct {
	channel  relay.Channel
	policy   channel.Policy
	exists   bool
	head     relay.Position
	messages []modelMessage // retained
	cut      relay.Position
	clean    relay.Position

	producers map[modelID]*modelProducer
}

type modelMessage struct {
	at      relay.Position
	payload string
	key     string
	size    uint64
	time    time.Time
}

type modelID struct {
	subject  relay.Subject
	producer relay.Producer
}

type modelProducer struct {
	epoch   relay.Epoch
	used    time.Time
	numbers []modelNumber // all, from 1
}

type modelNumber struct {
	at      relay.Position // zero: void
	payload string
}

// expect says how a publish by producer p has to end. Position and code only; a message that is
// put gets the position next.
func (m *model) expect(p relay.Publication, payload string, broken bool) (at relay.Position, code relay.Code, put bool) {
	pr := m.producers[modelID{p.Subject, p.Producer}]
	switch {
	case p.Producer.IsZero():
		return at, relay.Done, true
	case pr == nil && p.Age > 5*time.Minute:
		return at, relay.TooOld, false
	case pr == nil && p.N != 1:
		return at, relay.OutOfOrder, false
	case pr == nil:
	case p.N <= uint64(len(pr.numbers)):
		n := pr.numbers[p.N-1]
		switch {
		case p.N+1024 <= uint64(len(pr.numbers)):
			return at, relay.TooOld, false
		case n.at.IsZero():
			return at, relay.Voided, false
		case !p.Void && n.payload != payload:
			return at, relay.Conflict, false
		}
		return n.at, relay.Done, false
	case pr.epoch != m.head.Epoch || broken:
		return at, relay.TooOld, false
	case p.N != uint64(len(pr.numbers))+1:
		return at, relay.OutOfOrder, false
	case p.Age > 5*time.Minute && !p.Void:
		return at, relay.TooOld, false
	}
	if p.Void {
		return at, relay.Voided, true
	}
	return at, relay.Done, true
}

// newest reports whether no retained message of the same key is newer.
func (m *model) newest(i int) bool {
	for _, other := range m.messages[i+1:] {
		if other.key == m.messages[i].key {
			return false
		}
	}
	return true
}

// put appends a message.
func (m *model) put(msg modelMessage) {
	for i, old := range m.messages {
		if old.key != msg.key || m.clean.Before(old.at) {
			continue
		}
		if !m.policy.Keyed {
			m.clean = relay.Position{Epoch: old.at.Epoch, Seq: old.at.Seq - 1}
			break
		}
		m.messages = slices.Delete(m.messages, i, i+1)
		break
	}
	m.messages = append(m.messages, msg)
	m.head = msg.at
}

// apply applies a step.
func (m *model) apply(s channel.Step) {
	switch s.Op {
	case channel.Trim:
		m.messages = slices.DeleteFunc(m.messages, func(x modelMessage) bool { return !s.Through.Before(x.at) })
		m.cut = s.Through
	case channel.Compact:
		var keep []modelMessage
		for i, x := range m.messages {
			if s.Through.Before(x.at) || m.newest(i) {
				keep = append(keep, x)
			}
		}
		m.messages, m.clean = keep, s.Through
	case channel.Forget:
		m.exists, m.head, m.cut, m.clean = false, relay.Position{}, relay.Position{}, relay.Position{}
	}
}

// read says what a reliable reader after the place given has to get.
func (m *model) read(after, head relay.Position) []relay.Frame {
	var list []relay.Frame
	gap := func(next relay.Position) {
		reason := relay.GapCompacted
		switch {
		case after == next || after.Next() == next:
			return
		case after.Epoch != next.Epoch:
			reason = relay.GapEpoch
		case after.Before(m.cut):
			reason = relay.GapTrimmed
		}
		list = append(list, relay.Frame{Kind: relay.KindGap, At: after, Next: next, Reason: reason})
	}
	for _, x := range m.messages {
		if after.Before(x.at) {
			gap(x.at)
			list = append(list, relay.Frame{Kind: relay.KindMessage, At: x.at})
			after = x.at
		}
	}
	if after.Before(head) {
		gap(head.Next())
	}
	return list
}

// latest says what a reader in mode latest after the place given has to get.
func (m *model) latest(after relay.Position) []relay.Frame {
	var list []relay.Frame
	for i, x := range m.messages {
		if after.Before(x.at) && m.newest(i) {
			list = append(list, relay.Frame{Kind: relay.KindMessage, At: x.at})
		}
	}
	return list
}
