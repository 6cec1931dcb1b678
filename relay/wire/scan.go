package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Fields of the bodies that are scanned instead of unmarshalled.
const (
	publishChannel  = 1<<3 | bytesType
	publishProducer = 2<<3 | bytesType
	publishN        = 3<<3 | varintType
	publishAge      = 4<<3 | varintType
	publishVoid     = 5<<3 | varintType
	publishSubject  = 6<<3 | bytesType
	publishBody     = 7<<3 | bytesType

	okEpoch     = 1<<3 | varintType
	okSeq       = 2<<3 | varintType
	okHeadEpoch = 3<<3 | varintType
	okHeadSeq   = 4<<3 | varintType

	creditBytes = 1<<3 | varintType
)

// ScanPosition reads the position at the front of a Message frame's body and returns what
// follows. Epoch and seq are below 2^53.
func ScanPosition(b []byte) (epoch, seq uint64, rest []byte, err error) {
	epoch, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, nil, fmt.Errorf("%w: epoch of a message", ErrMalformed)
	}
	seq, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return 0, 0, nil, fmt.Errorf("%w: seq of a message", ErrMalformed)
	}
	if epoch > MaxRef || seq > MaxRef {
		return 0, 0, nil, fmt.Errorf("%w: position {%d, %d} is not below 2^53", ErrMalformed, epoch, seq)
	}
	return epoch, seq, b[n+m:], nil
}

// ScanDatagram reads a datagram; body is a part of b.
func ScanDatagram(b []byte) (ref, epoch, seq uint64, body []byte, err error) {
	ref, n := binary.Uvarint(b)
	if n <= 0 || ref > MaxRef {
		return 0, 0, 0, nil, fmt.Errorf("%w: ref of a datagram", ErrMalformed)
	}
	epoch, seq, body, err = ScanPosition(b[n:])
	return ref, epoch, seq, body, err
}

// A PublishView is a Publish body whose parts point into the bytes it was read from.
type PublishView struct {
	Channel  []byte
	Producer []byte
	N        uint64
	AgeMS    uint64
	Void     bool
	Subject  []byte
	Body     []byte
}

// ScanPublish reads a Publish body without copying or allocating. Channel and Producer are as
// they came; Subject is at most MaxSubject bytes of UTF-8.
func ScanPublish(body []byte) (PublishView, error) {
	var p PublishView
	for len(body) > 0 {
		t, v, b, n := field(body)
		if n < 0 {
			return p, fmt.Errorf("%w: Publish", ErrMalformed)
		}
		body = body[n:]
		switch t {
		case publishChannel:
			p.Channel = b
		case publishProducer:
			p.Producer = b
		case publishN:
			p.N = v
		case publishAge:
			p.AgeMS = v
		case publishVoid:
			p.Void = v != 0
		case publishSubject:
			p.Subject = b
		case publishBody:
			p.Body = b
		}
	}
	// The home stamps the subject on the message: a bad one would poison every subscriber.
	if len(p.Subject) > MaxSubject || !utf8.Valid(p.Subject) {
		return p, fmt.Errorf("%w: subject of a Publish: %d bytes; at most %d, of UTF-8", ErrMalformed, len(p.Subject), MaxSubject)
	}
	return p, nil
}

// AppendPublish appends a Publish frame.
func AppendPublish(b []byte, ref uint64, p PublishView) []byte {
	size := bytesSize(p.Channel) + bytesSize(p.Producer) + varintSize(p.N) + varintSize(p.AgeMS) +
		bytesSize(p.Subject) + bytesSize(p.Body)
	if p.Void {
		size += 2
	}
	b = AppendHeader(b, TypePublish, ref, size)
	b = appendBytes(b, publishChannel, p.Channel)
	b = appendBytes(b, publishProducer, p.Producer)
	b = appendVarint(b, publishN, p.N)
	b = appendVarint(b, publishAge, p.AgeMS)
	if p.Void {
		b = appendVarint(b, publishVoid, 1)
	}
	b = appendBytes(b, publishSubject, p.Subject)
	return appendBytes(b, publishBody, p.Body)
}

// AppendOK appends the OK that answers a Publish or a Subscribe. head is zero for a Publish.
func AppendOK(b []byte, ref, epoch, seq, headEpoch, headSeq uint64) []byte {
	size := varintSize(epoch) + varintSize(seq) + varintSize(headEpoch) + varintSize(headSeq)
	b = AppendHeader(b, TypeOK, ref, size)
	b = appendVarint(b, okEpoch, epoch)
	b = appendVarint(b, okSeq, seq)
	b = appendVarint(b, okHeadEpoch, headEpoch)
	return appendVarint(b, okHeadSeq, headSeq)
}

// AppendCredit appends a Credit frame.
func AppendCredit(b []byte, ref, bytes uint64) []byte {
	b = AppendHeader(b, TypeCredit, ref, varintSize(bytes))
	return appendVarint(b, creditBytes, bytes)
}

// ScanCredit reads a Credit body.
func ScanCredit(body []byte) (uint64, error) {
	var bytes uint64
	for len(body) > 0 {
		t, v, _, n := field(body)
		if n < 0 {
			return 0, fmt.Errorf("%w: Credit", ErrMalformed)
		}
		if t == creditBytes {
			bytes = v
		}
		body = body[n:]
	}
	return bytes, nil
}

// ScanOK reads the position of an OK body.
func ScanOK(body []byte) (epoch, seq uint64, err error) {
	for len(body) > 0 {
		t, v, _, n := field(body)
		if n < 0 {
			return 0, 0, fmt.Errorf("%w: OK", ErrMalformed)
		}
		switch t {
		case okEpoch:
			epoch = v
		case okSeq:
			seq = v
		}
		body = body[n:]
	}
	if max(epoch, seq) > MaxRef {
		return 0, 0, fmt.Errorf("%w: OK: position {%d, %d} is not below 2^53", ErrMalformed, epoch, seq)
	}
	return epoch, seq, nil
}
