package wire

import (
	"encoding/binary"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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

// AppendProto appends a frame with the protobuf body given. Text in m that is not UTF-8, which
// no decoder would take, is mended in m with U+FFFD; names are to be checked before.
func AppendProto(b []byte, t Type, ref uint64, m proto.Message) []byte {
	out, err := appendProto(b, t, ref, m)
	if err == nil {
		return out
	}
	mendText(m.ProtoReflect())
	if out, err = appendProto(b, t, ref, m); err != nil {
		panic(fmt.Sprintf("wire: marshal %v: %v", t, err)) // no message of wire.proto has another way to fail
	}
	return out
}

func appendProto(b []byte, t Type, ref uint64, m proto.Message) ([]byte, error) {
	b = AppendHeader(b, t, ref, proto.Size(m))
	return proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(b, m)
}

// mendText replaces what is not UTF-8 in the text of m and of the messages in it.
func mendText(m protoreflect.Message) {
	mend := func(v protoreflect.Value) protoreflect.Value {
		return protoreflect.ValueOfString(strings.ToValidUTF8(v.String(), "\uFFFD"))
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			mended := m.NewField(fd).Map()
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				mended.Set(mend(k.Value()).MapKey(), mend(v))
				return true
			})
			m.Set(fd, protoreflect.ValueOfMap(mended))
		case fd.IsList():
			for i := range v.List().Len() {
				v.List().Set(i, mend(v.List().Get(i)))
			}
		case fd.Kind() == protoreflect.MessageKind:
			mendText(v.Message())
		case fd.Kind() == protoreflect.StringKind:
			m.Set(fd, mend(v))
		}
		return true
	})
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
