package wire_test

import (
	"math/rand/v2"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay/wire"
)

// A jsRandom makes random frames that come down, pieces and damage.
type jsRandom struct{ *rand.Rand }

// number is below 2^53, of any magnitude, the ends often.
func (r jsRandom) number() uint64 {
	switch r.IntN(10) {
	case 0:
		return 0
	case 1:
		return wire.MaxRef
	}
	return r.Uint64N(1 << (1 + r.IntN(53)))
}

// any is any number.
func (r jsRandom) any() uint64 {
	if r.IntN(4) == 0 {
		return r.Uint64() >> r.IntN(64)
	}
	return r.number()
}

func (r jsRandom) ref() uint64 { return max(r.number(), 1) }

func (r jsRandom) text() string {
	alphabet := []string{"a", "b", "0", "\x00", "ß", "€", "\ufffd", "\ufeff", "\U00010000", "__proto__"}
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func (r jsRandom) texts() []string {
	list := make([]string, r.IntN(4))
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (r jsRandom) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (r jsRandom) message() *wire.Message {
	m := &wire.Message{
		Payload: r.bytes(r.IntN([]int{1, 20, 300, 5000}[r.IntN(4)])), Key: r.text(),
		ContentType: r.text(), Publisher: r.text(), TimeMs: r.any(),
	}
	for range r.IntN(4) {
		if m.Headers == nil {
			m.Headers = map[string]string{}
		}
		m.Headers[r.text()] = r.text()
	}
	return m
}

// unknown is fields that nobody knows, sometimes.
func (r jsRandom) unknown() []byte {
	var b []byte
	for range max(0, r.IntN(6)-3) {
		num := protowire.Number(1 + r.IntN(1<<r.IntN(29)))
		switch r.IntN(4) {
		case 0:
			b = protowire.AppendVarint(protowire.AppendTag(b, num+100, protowire.VarintType), r.Uint64())
		case 1:
			b = protowire.AppendBytes(protowire.AppendTag(b, num+100, protowire.BytesType), r.bytes(r.IntN(9)))
		case 2:
			b = protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), r.Uint32())
		case 3:
			b = protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), r.Uint64())
		}
	}
	return b
}

// down appends n frames that a client must take.
func (r jsRandom) down(n int) []byte {
	var b []byte
	for range n {
		b = r.frame(b)
	}
	return b
}

func (r jsRandom) frame(b []byte) []byte {
	var m proto.Message
	typ, ref := wire.Type(0), r.ref()
	switch r.IntN(9) {
	case 0:
		typ, ref = wire.TypeWelcome, 0
		m = &wire.Welcome{
			Session: r.text(), Edge: r.text(), Region: r.text(), Version: r.Uint32(), Features: r.any(), TokenExpiresMs: r.any(),
			Limits: &wire.Limits{Payload: r.any(), Unanswered: r.any(), Subscriptions: r.Uint32(), Streams: r.Uint32()},
		}
	case 1:
		typ = wire.TypeOK
		m = &wire.OK{Epoch: r.number(), Seq: r.number(), HeadEpoch: r.number(), HeadSeq: r.number(), TokenExpiresMs: r.any()}
	case 2:
		typ, ref = wire.TypeEnd, ref*r.Uint64N(2)
		m = &wire.End{
			Code: r.Uint32() >> r.IntN(32), RetryAfterMs: r.any(), DeadlineMs: r.any(), Detail: r.text(),
			Hint: &wire.Hint{Shard: r.text(), Alternatives: r.texts()}, Epoch: r.number(), Seq: r.number(),
		}
	case 3, 4:
		body := append(must(r.message()), r.unknown()...)
		return wire.AppendMessage(b, ref, r.number(), r.number(), body)
	case 5:
		typ = wire.TypeGap
		m = &wire.Gap{AfterEpoch: r.number(), AfterSeq: r.number(), NextEpoch: r.number(), NextSeq: r.number(), Reason: wire.GapReason(r.IntN(5))}
	case 6:
		typ, m = wire.TypeStatus, &wire.Status{State: wire.State(r.IntN(4))}
	case 7:
		typ, ref = wire.TypeGoAway, 0
		m = &wire.GoAway{Reason: r.Uint32() >> r.IntN(32), DeadlineMs: r.any(), Alternatives: r.texts()}
	case 8:
		odd := wire.Type(2*r.IntN(1<<20) + 1)
		if odd.Known() {
			odd = wire.TypePong
		}
		return wire.AppendFrame(b, odd, ref, r.bytes(r.IntN(60)))
	}
	body := append(must(m), r.unknown()...)
	if len(body) > typ.Bound() {
		body = must(m)
	}
	return wire.AppendFrame(b, typ, ref, body)
}

func must(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // all text is UTF-8
	}
	return b
}

// cuts are lengths of pieces of a stream of n bytes; what they leave is the last piece.
func (r jsRandom) cuts(n int) []int {
	var list []int
	most := []int{1, 2, 10, 100, 1200}[r.IntN(5)]
	for at := 0; at < n && most > 1; {
		c := r.IntN(most)
		list = append(list, c)
		at += c
	}
	return list
}

// damage changes, takes out or puts in some bytes, or cuts the stream off.
func (r jsRandom) damage(stream []byte) []byte {
	b := slices.Clone(stream)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			break
		}
		at := r.IntN(len(b))
		if r.IntN(2) == 0 {
			at = r.IntN(min(len(b), 16)) // headers are rare, and what matters most
		}
		switch r.IntN(6) {
		case 0:
			b[at] = byte(r.Uint32())
		case 1:
			b[at] ^= 1 << r.IntN(8)
		case 2:
			b = slices.Delete(b, at, min(at+1+r.IntN(3), len(b)))
		case 3:
			more := r.bytes(1 + r.IntN(9))
			for i := range more {
				more[i] |= byte(r.IntN(2) * 0x80)
			}
			b = slices.Insert(b, at, more...)
		case 4:
			b = b[:at]
		case 5:
			end := min(at+1+r.IntN(20), len(b))
			b = slices.Insert(b, at, slices.Clone(b[at:end])...)
		}
	}
	return b
}
