package wire

import "google.golang.org/protobuf/encoding/protowire"

// A tag is a field's number and wire type, as encoded: number<<3 | type. Scanners tell fields
// apart by the whole of it, because a known number of another wire type is an unknown field, as
// in every protobuf decoder.
type tag uint64

// The wire types of the fields that are scanned.
const (
	varintType = tag(protowire.VarintType)
	bytesType  = tag(protowire.BytesType)
)

// field reads one field: a varint's value as v, bytes as b, which has no room to append to.
// n < 0: malformed. Groups are malformed: proto3 has none. What passes here passes every
// decoder, else one publisher could send what all subscribers choke on.
func field(body []byte) (t tag, v uint64, b []byte, n int) {
	num, typ, k := protowire.ConsumeTag(body)
	if k < 0 || num > protowire.MaxValidNumber { // ConsumeTag takes more than decoders do
		return 0, 0, nil, -1
	}
	switch typ {
	case protowire.VarintType:
		v, n = protowire.ConsumeVarint(body[k:])
	case protowire.BytesType:
		b, n = protowire.ConsumeBytes(body[k:])
		b = b[:len(b):len(b)]
	case protowire.Fixed32Type, protowire.Fixed64Type:
		n = protowire.ConsumeFieldValue(num, typ, body[k:])
	default:
		n = -1
	}
	if n < 0 {
		return 0, 0, nil, -1
	}
	return tag(num)<<3 | tag(typ), v, b, k + n
}

// bytesSize and varintSize return what appendBytes and appendVarint append, for field numbers
// up to 15.
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

func appendBytes(b []byte, t tag, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(append(b, byte(t)), v)
}

func appendVarint(b []byte, t tag, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, byte(t)), v)
}
