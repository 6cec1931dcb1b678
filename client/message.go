package client

import (
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A Message is what a publisher sends and a subscriber receives. It belongs to who has it.
type Message struct {
	Payload     []byte
	Key         string            // at most 256 B; empty: none
	Headers     map[string]string // with ContentType at most 4 KiB, names and values together
	ContentType string

	// ID makes one message of all publishes that carry it, by whomever the token speaks for,
	// within the ten minutes that the home remembers it. Not sent to subscribers. Empty: the
	// client numbers the message, which makes its own repeats harmless.
	ID string

	// Set by the relay, ignored when publishing.
	Channel   relay.Channel
	Position  relay.Position
	Publisher relay.Subject // whom the publisher's token speaks for
	Time      time.Time     // by the home's clock, whole milliseconds
}

// encode returns the message's body, or why no relay would take it.
func (m *Message) encode(maxPayload int) ([]byte, error) {
	if len(m.Payload) > maxPayload {
		return nil, tooLarge("payload", len(m.Payload), maxPayload)
	}
	if len(m.Key) > wire.MaxKey {
		return nil, tooLarge("key", len(m.Key), wire.MaxKey)
	}
	size, valid := len(m.ContentType), utf8.ValidString(m.ContentType) && utf8.ValidString(m.Key)
	for k, v := range m.Headers {
		size += len(k) + len(v)
		valid = valid && utf8.ValidString(k) && utf8.ValidString(v)
	}
	if size > wire.MaxHeaders {
		return nil, tooLarge("headers", size, wire.MaxHeaders)
	}
	if !valid {
		return nil, &relay.Error{End: relay.End{Code: relay.BadRequest, Detail: "key, headers and content type must be UTF-8"}}
	}
	// The home compares what comes under the same ID byte for byte, and maps have no order.
	return proto.MarshalOptions{Deterministic: true}.Marshal(&wire.Message{
		Payload: m.Payload, Key: m.Key, Headers: m.Headers, ContentType: m.ContentType,
	})
}

func tooLarge(what string, size, most int) error {
	return &relay.Error{End: relay.End{
		Code:   relay.TooLarge,
		Detail: fmt.Sprintf("%s of %d bytes; at most %d", what, size, most),
	}}
}

// decode reads a message's body, which it copies.
func decode(ch relay.Channel, at relay.Position, body []byte) (*Message, error) {
	var w wire.Message
	if err := proto.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("message %v of %s: %w", at, ch, err)
	}
	return &Message{
		Payload: w.Payload, Key: w.Key, Headers: w.Headers, ContentType: w.ContentType,
		Channel: ch, Position: at, Publisher: relay.Subject(w.Publisher),
		Time: time.UnixMilli(int64(w.TimeMs)),
	}, nil
}
