package wire

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of Message.
const (
	messagePayload     = 1
	messageKey         = 2
	messageHeaders     = 3
	messageContentType = 4
	messagePublisher   = 14
	messageTime        = 15
)

// Key returns the key of a Message body, a part of it; nil if it has none.
func Key(body []byte) []byte {
	var key []byte
	for len(body) > 0 {
		num, _, b, n := field(body)
		if n < 0 {
			return key
		}
		if num == messageKey {
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
	Headers int // names, values and content type
}

// CheckPublished measures the body of a Publish and refuses one that is malformed, has text
// that is not UTF-8, or sets what only the home may set.
func CheckPublished(body []byte) (MessageSize, error) {
	var s MessageSize
	for len(body) > 0 {
		num, _, b, n := field(body)
		if n < 0 {
			return s, fmt.Errorf("%w: message", ErrMalformed)
		}
		body = body[n:]
		switch num {
		case messagePayload:
			s.Payload = len(b)
		case messageKey:
			if !utf8.Valid(b) {
				return s, fmt.Errorf("%w: key is not UTF-8", ErrMalformed)
			}
			s.Key = len(b)
		case messageHeaders:
			size, err := headerSize(b)
			if err != nil {
				return s, err
			}
			s.Headers += size
		case messageContentType:
			if !utf8.Valid(b) {
				return s, fmt.Errorf("%w: content type is not UTF-8", ErrMalformed)
			}
			s.Headers += len(b)
		case messagePublisher, messageTime:
			return s, fmt.Errorf("%w: publisher and time are the home's to set", ErrMalformed)
		}
	}
	return s, nil
}

func headerSize(entry []byte) (int, error) {
	size := 0
	for len(entry) > 0 {
		_, _, b, n := field(entry)
		if n < 0 {
			return 0, fmt.Errorf("%w: header", ErrMalformed)
		}
		if !utf8.Valid(b) {
			return 0, fmt.Errorf("%w: header is not UTF-8", ErrMalformed)
		}
		size += len(b)
		entry = entry[n:]
	}
	return size, nil
}

// AppendStamp appends publisher and time to a Message body, as the home does.
func AppendStamp(body []byte, publisher string, timeMS uint64) []byte {
	if publisher != "" {
		body = protowire.AppendTag(body, messagePublisher, protowire.BytesType)
		body = protowire.AppendString(body, publisher)
	}
	return appendVarint(body, messageTime, timeMS)
}

// TimeMS returns the time of a Message body, Unix milliseconds; 0 if it has none.
func TimeMS(body []byte) uint64 {
	var t uint64
	for len(body) > 0 {
		num, v, _, n := field(body)
		if n < 0 {
			return t
		}
		if num == messageTime {
			t = v
		}
		body = body[n:]
	}
	return t
}
