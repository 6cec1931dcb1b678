package wire

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of Message.
const (
	messagePayload     = 1<<3 | bytesType
	messageKey         = 2<<3 | bytesType
	messageHeaders     = 3<<3 | bytesType
	messageContentType = 4<<3 | bytesType
	messagePublisher   = 14<<3 | bytesType
	messageTime        = 15<<3 | varintType

	headerName  = 1<<3 | bytesType
	headerValue = 2<<3 | bytesType
)

// Key returns the key of a Message body, a part of it; nil if it has none.
func Key(body []byte) []byte {
	var key []byte
	for len(body) > 0 {
		t, _, b, n := field(body)
		if n < 0 {
			return key
		}
		if t == messageKey {
			key = b
		}
		body = body[n:]
	}
	return key
}

// A MessageSize is what limits are held against, in bytes.
type MessageSize struct {
	Payload int
	Key     int
	// Headers are all other fields as they are encoded: headers, content type, and fields that
	// this version does not know. So the three bound the whole body.
	Headers int
}

// CheckPublished measures the body of a Publish. It refuses with ErrMalformed what does not
// parse, repeats payload or key, has text that is not UTF-8, or sets what only the home may
// set; with ErrTooLarge what is beyond MaxPayload, MaxKey or MaxHeaders. A body that passes
// fits, stamped, into a Message frame.
func CheckPublished(body []byte) (MessageSize, error) {
	var s MessageSize
	var payload, key bool
	for len(body) > 0 {
		t, _, b, n := field(body)
		if n < 0 {
			return s, fmt.Errorf("%w: message", ErrMalformed)
		}
		body = body[n:]
		switch t {
		case messagePayload:
			if payload {
				return s, fmt.Errorf("%w: second payload", ErrMalformed)
			}
			payload, s.Payload = true, len(b)
			continue
		case messageKey:
			if key {
				return s, fmt.Errorf("%w: second key", ErrMalformed)
			}
			if !utf8.Valid(b) {
				return s, fmt.Errorf("%w: key is not UTF-8", ErrMalformed)
			}
			key, s.Key = true, len(b)
			continue
		case messageHeaders:
			if err := checkHeader(b); err != nil {
				return s, err
			}
		case messageContentType:
			if !utf8.Valid(b) {
				return s, fmt.Errorf("%w: content type is not UTF-8", ErrMalformed)
			}
		case messagePublisher, messageTime:
			return s, fmt.Errorf("%w: publisher and time are the home's to set", ErrMalformed)
		}
		s.Headers += n
	}
	switch {
	case s.Payload > MaxPayload:
		return s, fmt.Errorf("%w: payload of %d bytes; at most %d", ErrTooLarge, s.Payload, MaxPayload)
	case s.Key > MaxKey:
		return s, fmt.Errorf("%w: key of %d bytes; at most %d", ErrTooLarge, s.Key, MaxKey)
	case s.Headers > MaxHeaders:
		return s, fmt.Errorf("%w: headers of %d bytes; at most %d", ErrTooLarge, s.Headers, MaxHeaders)
	}
	return s, nil
}

// checkHeader refuses a header entry that a protobuf decoder would refuse.
func checkHeader(entry []byte) error {
	for len(entry) > 0 {
		t, _, b, n := field(entry)
		if n < 0 {
			return fmt.Errorf("%w: header", ErrMalformed)
		}
		if (t == headerName || t == headerValue) && !utf8.Valid(b) {
			return fmt.Errorf("%w: header is not UTF-8", ErrMalformed)
		}
		entry = entry[n:]
	}
	return nil
}

// AppendStamp appends publisher (at most MaxSubject bytes of UTF-8) and time to a Message body,
// as the home does.
func AppendStamp(body []byte, publisher string, timeMS uint64) []byte {
	if publisher != "" {
		body = protowire.AppendString(append(body, byte(messagePublisher)), publisher)
	}
	return appendVarint(body, messageTime, timeMS)
}

// TimeMS returns the time of a Message body, Unix milliseconds; 0 if it has none.
func TimeMS(body []byte) uint64 {
	var ms uint64
	for len(body) > 0 {
		t, v, _, n := field(body)
		if n < 0 {
			return ms
		}
		if t == messageTime {
			ms = v
		}
		body = body[n:]
	}
	return ms
}
