package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

const (
	maxItems = 1000 // messages of one request; fewer than a producer's window in flight
	maxID    = 256  // bytes of an id
)

// A messageIn is a message as a back-end publishes it. At most one of Payload and PayloadBase64
// is set; neither is an empty payload.
type messageIn struct {
	Payload       *string           `json:"payload"`
	PayloadBase64 *[]byte           `json:"payload_base64"`
	Key           string            `json:"key"`
	Headers       map[string]string `json:"headers"`
	ContentType   string            `json:"content_type"`
	// ID makes repeating the request safe: the same id with the same message, by the same
	// subject, to the same channel, takes effect once.
	ID string `json:"id"`
}

// A messageOut is a message as history shows it. Payload stands where it is UTF-8, else
// PayloadBase64.
type messageOut struct {
	Channel       relay.Channel     `json:"channel"`
	Epoch         relay.Epoch       `json:"epoch"`
	Seq           relay.Seq         `json:"seq"`
	Time          time.Time         `json:"time"`
	Publisher     string            `json:"publisher,omitempty"`
	Key           string            `json:"key,omitempty"`
	Headers       map[string]string `json:"headers,omitempty"`
	ContentType   string            `json:"content_type,omitempty"`
	Payload       *string           `json:"payload,omitempty"`
	PayloadBase64 []byte            `json:"payload_base64,omitempty"`
}

// parseMessages parses one message or an array of them; one reports which.
func parseMessages(b []byte) (list []messageIn, one bool, err error) {
	if !utf8.Valid(b) { // else the parser would replace what is not
		return nil, false, errors.New("it is not UTF-8; put other bytes into payload_base64")
	}
	one = !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("["))
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if one {
		list, err = decodeMessage(d, nil)
	} else {
		list, err = decodeArray(d)
	}
	if err != nil {
		return nil, one, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, one, errors.New("something follows the JSON value")
	}
	if len(list) == 0 {
		return nil, one, errors.New("the array is empty")
	}
	return list, one, nil
}

// decodeArray stops at the first message too many, before it has cost memory.
func decodeArray(d *json.Decoder) (list []messageIn, err error) {
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		if len(list) == maxItems {
			return nil, fmt.Errorf("more than %d messages; send several requests", maxItems)
		}
		if list, err = decodeMessage(d, list); err != nil {
			return nil, fmt.Errorf("message %d: %w", len(list), err)
		}
	}
	_, err = d.Token()
	return list, err
}

func decodeMessage(d *json.Decoder, list []messageIn) ([]messageIn, error) {
	var m *messageIn
	if err := d.Decode(&m); err != nil {
		return list, err
	}
	if m == nil {
		return list, errors.New("null is no message; {} is an empty one")
	}
	return append(list, *m), nil
}

// encode returns the message's body, the same bytes for the same message, and holds it against
// the bounds.
func (m *messageIn) encode(maxPayload int) ([]byte, relay.End) {
	refuse := func(code relay.Code, format string, args ...any) ([]byte, relay.End) {
		return nil, relay.End{Code: code, Detail: fmt.Sprintf(format, args...)}
	}
	out := wire.Message{Key: m.Key, Headers: m.Headers, ContentType: m.ContentType}
	switch {
	case m.Payload != nil && m.PayloadBase64 != nil:
		return refuse(relay.BadRequest, "payload and payload_base64 are both set; set one")
	case m.Payload != nil:
		out.Payload = []byte(*m.Payload)
	case m.PayloadBase64 != nil:
		out.Payload = *m.PayloadBase64
	}
	if len(m.ID) > maxID {
		return refuse(relay.TooLarge, "id of %d bytes; at most %d", len(m.ID), maxID)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(&out)
	if err != nil {
		return refuse(relay.BadRequest, "key, headers and content type must be UTF-8")
	}
	size, err := wire.CheckPublished(body)
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return refuse(relay.TooLarge, "%v", err)
	case err != nil:
		return refuse(relay.BadRequest, "%v", err)
	case size.Payload > maxPayload:
		return refuse(relay.TooLarge, "payload of %d bytes; at most %d", size.Payload, maxPayload)
	}
	return body, relay.End{}
}

// messageOf returns a message as history shows it.
func messageOf(ch relay.Channel, at relay.Position, body []byte) (messageOut, error) {
	var in wire.Message
	if err := proto.Unmarshal(body, &in); err != nil {
		return messageOut{}, fmt.Errorf("message %v of %q: %w", at, ch, err)
	}
	m := messageOut{
		Channel: ch, Epoch: at.Epoch, Seq: at.Seq,
		Time:      time.UnixMilli(int64(in.TimeMs)).UTC(),
		Publisher: in.Publisher, Key: in.Key, Headers: in.Headers, ContentType: in.ContentType,
	}
	if utf8.Valid(in.Payload) {
		text := string(in.Payload)
		m.Payload = &text
	} else {
		m.PayloadBase64 = in.Payload
	}
	return m, nil
}
