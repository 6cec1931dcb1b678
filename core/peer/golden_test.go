package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/shard"
)

var update = flag.Bool("update", false, "write testdata/frames.txt anew")

const goldenFile = "testdata/frames.txt"

// A golden is a frame and what its body is read as.
type golden struct {
	name  string
	bytes []byte
	value any
}

func goldens(t testing.TB) []golden {
	t.Helper()
	typ, index, term := raftpb.MsgApp, uint64(300), uint64(4)
	raft := &raftpb.Message{
		Type: &typ, To: new(uint64(2)), From: new(uint64(1)), Term: &term, LogTerm: &term, Index: &index, Commit: &index,
		Entries: []*raftpb.Entry{{Term: &term, Index: new(index + 1), Data: []byte("payload")}},
	}
	messages := map[string]shard.Message{
		"message":       {Shard: 12, From: 1, To: 2, Incarnation: 1, Keep: 290, Raft: raft},
		"message-rest":  {Shard: 12, From: 1, To: 2, Rest: true, Raft: &raftpb.Message{Type: new(raftpb.MsgHeartbeat), Term: &term}},
		"message-gone":  {Shard: 1 << 40, From: 7, To: 900, Gone: true},
		"message-store": {Shard: 12, From: 1, To: 2, Store: storeOf("b"), Raft: &raftpb.Message{Type: new(raftpb.MsgVote)}},
	}
	h := hello{
		low: 1, high: 2, purpose: forRaft, fleet: "prod", node: "n1", dialled: "n2", store: storeOf("n1"), version: 300,
		incarnations: []Incarnation{{12, 2}, {300, 7}},
	}
	planned := h
	planned.plan = "0123456789abcdef"
	w := welcome{used: 1, store: storeOf("n2"), version: 300, incarnations: []Incarnation{{12, 3}}}
	a := ask{shard: 12, to: 4, snapshot: 1 << 50, at: shard.Place{Index: 300, Term: 4}, key: []byte("from here")}
	o := offer{from: []byte("a"), to: []byte("b"), sum: 0x0123456789abcdef, bytes: 1 << 19}
	c := shard.Chunk{From: []byte("a"), To: []byte{}, Sum: 0xfedcba9876543210, Keys: [][]byte{[]byte("k1"), []byte("k2")}, Values: [][]byte{[]byte("v"), {}}}
	data, err := appendData(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	refused := fmt.Errorf("%w: node %q", ErrStore, "n1")
	list := []golden{
		{"hello", h.append(nil), &h}, {"hello-plan", planned.append(nil), &planned}, {"welcome", w.append(nil), &w},
		{"refuse", appendRefusal(nil, typeRefuse, refused), &RefusedError{ErrStore, refused.Error()}},
		{"beat", appendBeat(nil, typeBeat, 300, 7), [2]uint64{300, 7}},
		{"unwell", appendFrame(nil, typeUnwell, nil), nil},
		{"echo", appendBeat(nil, typeEcho, 300, 7), [2]uint64{300, 7}},
		{"ask", a.append(nil), &a}, {"offer", o.append(nil), &o}, {"data", data, &c},
		{"keep", appendFrame(nil, typeKeep, nil), nil}, {"need", appendFrame(nil, typeNeed, nil), nil},
		{"done", appendFrame(nil, typeDone, nil), nil}, {"end", appendFrame(nil, typeEnd, nil), nil},
		{"fail", appendRefusal(nil, typeFail, ErrGone), &RefusedError{ErrGone, ErrGone.Error()}},
	}
	for _, name := range []string{"message", "message-rest", "message-gone", "message-store"} {
		m := messages[name]
		b, err := appendMessage(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, golden{name, b, &m})
	}
	return list
}

// read reads the body of a frame of any type.
func read(t frameType, b []byte) (any, error) {
	switch t {
	case typeHello:
		h := new(hello)
		return h, h.decode(b)
	case typeWelcome:
		w := new(welcome)
		return w, w.decode(b)
	case typeRefuse, typeFail:
		err := decodeRefusal(b)
		if e, ok := errors.AsType[*RefusedError](err); ok {
			return e, nil
		}
		return nil, err
	case typeMessage:
		m, err := decodeMessage(b)
		return &m, err
	case typeBeat, typeEcho:
		n, v, err := decodeBeat(b)
		return [2]uint64{n, v}, err
	case typeAsk:
		a := new(ask)
		return a, a.decode(b)
	case typeOffer:
		o := new(offer)
		return o, o.decode(b)
	case typeData:
		c := new(shard.Chunk)
		return c, decodeData(b, c)
	}
	return nil, nil
}

func same(a, b any) bool {
	x, ok := a.(*shard.Message)
	y, also := b.(*shard.Message)
	if !ok || !also {
		return reflect.DeepEqual(a, b)
	}
	p, q := *x, *y
	p.Raft, q.Raft = nil, nil
	return p == q && proto.Equal(x.Raft, y.Raft)
}

// The bytes of every frame are those that were written down.
func TestGolden(t *testing.T) {
	t.Parallel()
	list := goldens(t)
	if *update {
		var b strings.Builder
		for _, g := range list {
			fmt.Fprintf(&b, "%s %x\n", g.name, g.bytes)
		}
		if err := os.WriteFile(goldenFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != len(list) {
		t.Fatalf("%d frames written down, %d known", len(lines), len(list))
	}
	for i, g := range list {
		name, digits, _ := strings.Cut(lines[i], " ")
		want, err := hex.DecodeString(digits)
		if err != nil || name != g.name || !bytes.Equal(want, g.bytes) {
			t.Errorf("%s: %x, written down %s", g.name, g.bytes, lines[i])
			continue
		}
		typ, body, err := newFrameReader(bytes.NewReader(want)).next()
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		if got, err := read(typ, body); err != nil || !same(got, g.value) {
			t.Errorf("%s: read %+v, %v; want %+v", g.name, got, err, g.value)
		}
	}
}

// A field of shard.Message that this package does not know would be lost on the way.
func TestMessageHasNoOtherFields(t *testing.T) {
	want := []string{"Shard", "From", "To", "Incarnation", "Store", "Rest", "Gone", "Keep", "Raft"}
	typ := reflect.TypeFor[shard.Message]()
	var got []string
	for f := range typ.Fields() {
		got = append(got, f.Name)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("fields %v; appendMessage and decodeMessage know %v", got, want)
	}
}
