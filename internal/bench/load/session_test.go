package load

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// frame returns a Message frame with a payload of size bytes.
func frame(t *testing.T, seq uint64, class uint8, size int) wire.Frame {
	t.Helper()
	body := protowire.AppendTag(nil, 1, protowire.BytesType)
	body = protowire.AppendBytes(body, AppendPayload(nil, class, size))
	f, err := wire.NewReader(strings.NewReader(string(wire.AppendMessage(nil, 1, 5, seq, body)))).Next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// reader returns a session with one subscription, that began at seq 7.
func reader(l *Load) *session {
	s := newSession(l, nil)
	s.refs = map[uint64]*subscription{1: {channel: "bench:0", at: relay.Position{Epoch: 5, Seq: 7}}}
	return s
}

func TestMessagesMustFollowEachOther(t *testing.T) {
	s := reader(&Load{cfg: Config{Window: 1 << 20}})
	for _, seq := range []uint64{8, 9} {
		if _, err := s.message(frame(t, seq, 0, 100)); err != nil {
			t.Fatalf("seq %d: %v", seq, err)
		}
	}
	for _, seq := range []uint64{9, 11} {
		if _, err := s.message(frame(t, seq, 0, 100)); err == nil {
			t.Errorf("seq %d after 9 was taken", seq)
		}
	}
}

func TestCreditAtHalfAWindow(t *testing.T) {
	s := reader(&Load{cfg: Config{Window: 1000}})
	var granted, got uint64
	for seq := uint64(8); seq < 28; seq++ {
		f := frame(t, seq, 0, 100)
		credit, err := s.message(f)
		if err != nil {
			t.Fatal(err)
		}
		got += uint64(len(f.Body))
		granted += credit
		if owed := got - granted; owed >= 500 || credit > 0 && credit < 500 {
			t.Fatalf("credit %d, and %d owed: want all as soon as 500 are", credit, owed)
		}
	}
	if granted == 0 {
		t.Error("no credit")
	}
}

func TestForeignMessages(t *testing.T) {
	s := reader(&Load{})
	f := frame(t, 8, 0, 100)
	f.Ref = 2
	if _, err := s.message(f); err == nil {
		t.Error("a message for nobody's ref was taken")
	}
	for _, body := range []string{"", "x", "\x0a", "\x0a\x05short", "\x0a\x7fno", "\x12\x0912345678."} {
		if _, err := payloadOf([]byte(body)); err == nil {
			t.Errorf("payload of %q", body)
		}
	}
}

func TestTallyKeepsClassesApart(t *testing.T) {
	l := &Load{cfg: Config{Window: 1 << 20}}
	for range 3 { // sessions, on shards of their own
		s := reader(l)
		for i := range uint64(10) {
			if _, err := s.message(frame(t, 8+i, uint8(i%2), 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := l.Count()
	if c.Messages != 30 || c.Bytes != 3000 || c.Class[0].Count != 15 || c.Class[1].Count != 15 {
		t.Errorf("%+v: want 30 messages of 100 B, half in each class", c)
	}
	if p := c.Class[0]; p.P50 <= 0 || p.P50 > p.P99 || p.P99 > p.Max || p.Max > 10*time.Second {
		t.Errorf("latencies %+v", p)
	}
	l.Reset()
	if c := l.Count(); c.Messages != 0 || c.Bytes != 0 {
		t.Errorf("%+v after Reset", c)
	}
}
