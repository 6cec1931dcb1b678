package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay/wire"
)

// loop is a stream that repeats its bytes for ever.
type loop struct {
	in  []byte
	pos int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.in[l.pos:])
	l.pos = (l.pos + n) % len(l.in)
	return n, nil
}

func body(t testing.TB) []byte {
	return marshal(t, &wire.Message{Payload: make([]byte, 128), Key: "a-key", Headers: map[string]string{"h": "v"}, Publisher: "p", TimeMs: 5})
}

// TestDeliveryAllocatesNothing: nothing, for a message that is read, looked at and written.
func TestDeliveryAllocatesNothing(t *testing.T) {
	r := wire.NewReader(&loop{in: wire.AppendMessage(nil, 300, 3, 1000, body(t))})
	out := make([]byte, 0, 4096)
	deliver := func() {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		epoch, seq, rest, err := wire.ScanPosition(f.Body)
		if err != nil || string(wire.Key(rest)) != "a-key" || wire.TimeMS(rest) != 5 {
			t.Fatal(epoch, seq, err)
		}
		out = wire.AppendMessage(out[:0], 7, epoch, seq, rest)
		out = wire.AppendDatagram(out, 7, epoch, seq, rest)
		out = wire.AppendCredit(out, 7, uint64(len(rest)))
	}
	for range 1000 {
		deliver() // until the buffer has its size
	}
	if n := testing.AllocsPerRun(1000, deliver); n != 0 {
		t.Fatalf("%v allocations per delivery", n)
	}
}

func TestPublishAllocatesNothing(t *testing.T) {
	in := wire.AppendPublish(nil, 5, wire.PublishView{
		Channel: []byte("chat:lobby"), Producer: make([]byte, 16), N: 7, Subject: []byte("user"),
		Body: marshal(t, &wire.Message{Payload: make([]byte, 128), Key: "k", Headers: map[string]string{"h": "v"}}),
	})
	r := wire.NewReader(&loop{in: in})
	out := make([]byte, 0, 4096)
	publish := func() {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		p, err := wire.ScanPublish(f.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.CheckPublished(p.Body); err != nil {
			t.Fatal(err)
		}
		out = wire.AppendPublish(out[:0], 9, p)
		out = wire.AppendStamp(append(out, p.Body...), "user", 5)
		out = wire.AppendOK(out, 5, 3, 1000, 0, 0)
	}
	for range 1000 {
		publish()
	}
	if n := testing.AllocsPerRun(1000, publish); n != 0 {
		t.Fatalf("%v allocations per publish", n)
	}
}

// TestRefusalsAreCheap: a hostile body costs a few allocations, however large it is.
func TestRefusalsAreCheap(t *testing.T) {
	in := bytes.Repeat([]byte{0x0a, 0}, 1<<19)
	if n := testing.AllocsPerRun(10, func() { wire.CheckPublished(in) }); n > 10 {
		t.Fatalf("%v allocations", n)
	}
	r := wire.NewReader(&loop{in: wire.AppendFrame(nil, wire.TypePublish, 1, make([]byte, wire.TypePublish.Bound()+1))})
	skip := func() {
		if f, err := r.Next(); err != nil || !f.Skipped {
			t.Fatal(err)
		}
	}
	skip()
	if n := testing.AllocsPerRun(5, skip); n != 0 {
		t.Fatalf("%v allocations for a Publish that is passed over", n)
	}
}

func BenchmarkReadMessage(b *testing.B) {
	in := wire.AppendMessage(nil, 300, 3, 1000, body(b))
	r := wire.NewReader(&loop{in: in})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, _, rest, err := wire.ScanPosition(f.Body); err != nil || wire.Key(rest) == nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	in := body(b)
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out = wire.AppendMessage(out[:0], 300, 3, 1000, in)
	}
}

func BenchmarkScanPublish(b *testing.B) {
	in := marshal(b, &wire.Publish{Channel: "chat:lobby", Producer: make([]byte, 16), N: 7, Body: body(b)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ScanPublish(in); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAppendProtoMendsText: hostile text in a detail neither panics nor leaves unreadable bytes.
func TestAppendProtoMendsText(t *testing.T) {
	frames := map[wire.Type][]byte{
		wire.TypeEnd: wire.AppendProto([]byte{}, wire.TypeEnd, 1, &wire.End{
			Code: 12, Detail: "channel \xff", Hint: &wire.Hint{Shard: "\xc3", Alternatives: []string{"a", "\xfe"}},
		}),
		wire.TypeHello: wire.AppendProto([]byte{}, wire.TypeHello, 1, &wire.Hello{Agent: strings.Repeat("\xff", 3)}),
	}
	for typ, b := range frames {
		f, err := wire.NewReader(bytes.NewReader(b)).Next()
		if err != nil || f.Type != typ {
			t.Fatalf("%v: %v", typ, err)
		}
		m := bodies[typ.String()]()
		if err := proto.Unmarshal(f.Body, m); err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
	}
	var end wire.End
	f, err := wire.NewReader(bytes.NewReader(frames[wire.TypeEnd])).Next()
	if err != nil || proto.Unmarshal(f.Body, &end) != nil {
		t.Fatal(err)
	}
	if end.Detail != "channel \uFFFD" || end.Hint.Shard != "\uFFFD" || end.Hint.Alternatives[1] != "\uFFFD" || end.Hint.Alternatives[0] != "a" {
		t.Fatalf("mended to %v", &end)
	}
}

// A run of frames longer than a read keeps its buffer.
func TestLongFramesKeepTheirBuffer(t *testing.T) {
	frame := wire.AppendFrame(nil, wire.TypePublish, 1, make([]byte, 10_000))
	r := wire.NewReader(&reel{data: frame, most: 1400})
	read := func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		read()
	}
	if n := testing.AllocsPerRun(1000, read); n != 0 {
		t.Fatalf("%v allocations per frame of 10,000 bytes", n)
	}
}

// reel reads data again and again, at most most bytes at a time.
type reel struct {
	data []byte
	at   int
	most int
}

func (l *reel) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:min(l.at+l.most, len(l.data))])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}
