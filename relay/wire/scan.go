package wire

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of the bodies that are scanned instead of unmarshalled.
const (
	publishChannel  = 1
	publishProducer = 2
	publishN        = 3
	publishAge      = 4
	publishVoid     = 5
	publishSubject  = 6
	publishBody     = 7

	okEpoch     = 1
	okSeq       = 2
	okHeadEpoch = 3
	okHeadSeq   = 4

	creditBytes = 1
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

// ScanPublish reads a Publish body without copying or allocating.
func ScanPublish(body []byte) (PublishView, error) {
	var p PublishView
	for len(body) > 0 {
		num, v, b, n := field(body)
		if n < 0 {
			return p, fmt.Errorf("%w: Publish", ErrMalformed)
		}
		body = body[n:]
		switch num {
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
		num, v, _, n := field(body)
		if n < 0 {
			return 0, fmt.Errorf("%w: Credit", ErrMalformed)
		}
		if num == creditBytes {
			bytes = v
		}
		body = body[n:]
	}
	return bytes, nil
}

// field reads one field: a varint's value as v, bytes as b. A field of another type has
// num 0: no body has one, so it is unknown and ignored. n < 0: malformed.
func field(body []byte) (num protowire.Number, v uint64, b []byte, n int) {
	num, typ, t := protowire.ConsumeTag(body)
	if t < 0 {
		return 0, 0, nil, -1
	}
	switch typ {
	case protowire.VarintType:
		v, n = protowire.ConsumeVarint(body[t:])
	case protowire.BytesType:
		b, n = protowire.ConsumeBytes(body[t:])
	case protowire.Fixed32Type, protowire.Fixed64Type:
		n = protowire.ConsumeFieldValue(num, typ, body[t:])
		num = 0
	default:
		n = -1
	}
	if n < 0 {
		return 0, 0, nil, -1
	}
	return num, v, b, t + n
}

func bytesSize(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(b))
}

func varintSize(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + UvarintLen(v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}
