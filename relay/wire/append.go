package wire

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// AppendHeader appends the three varints before a body of n bytes.
func AppendHeader(b []byte, t Type, ref uint64, n int) []byte {
	b = binary.AppendUvarint(b, uint64(t))
	b = binary.AppendUvarint(b, ref)
	return binary.AppendUvarint(b, uint64(n))
}

// AppendFrame appends a frame with the body given.
func AppendFrame(b []byte, t Type, ref uint64, body []byte) []byte {
	return append(AppendHeader(b, t, ref, len(body)), body...)
}

// AppendProto appends a frame with the protobuf body given. It panics only if m cannot be
// marshalled, which a message of wire.proto with valid UTF-8 always can.
func AppendProto(b []byte, t Type, ref uint64, m proto.Message) []byte {
	b = AppendHeader(b, t, ref, proto.Size(m))
	out, err := proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		panic(fmt.Sprintf("wire: marshal %v: %v", t, err))
	}
	return out
}

// AppendMessageHeader appends what stands before a message's body of n bytes: the frame's
// header and the position.
func AppendMessageHeader(b []byte, ref, epoch, seq uint64, n int) []byte {
	b = AppendHeader(b, TypeMessage, ref, UvarintLen(epoch)+UvarintLen(seq)+n)
	b = binary.AppendUvarint(b, epoch)
	return binary.AppendUvarint(b, seq)
}

// AppendMessage appends a Message frame.
func AppendMessage(b []byte, ref, epoch, seq uint64, body []byte) []byte {
	return append(AppendMessageHeader(b, ref, epoch, seq, len(body)), body...)
}

// MessageCost is what a Message frame takes from its subscription's credit, in bytes: the
// length of its body, position included.
func MessageCost(epoch, seq uint64, n int) int {
	return UvarintLen(epoch) + UvarintLen(seq) + n
}

// AppendDatagram appends a message as a datagram.
func AppendDatagram(b []byte, ref, epoch, seq uint64, body []byte) []byte {
	b = binary.AppendUvarint(b, ref)
	b = binary.AppendUvarint(b, epoch)
	b = binary.AppendUvarint(b, seq)
	return append(b, body...)
}

// UvarintLen returns the length of v as a varint, in bytes.
func UvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
