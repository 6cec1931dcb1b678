package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay/wire"
)

var update = flag.Bool("update", false, "write the bytes that the encoder makes into testdata/frames.json")

// A golden is one frame of testdata/frames.json, which holds every SDK to the same bytes.
// Fields are those of wire.proto in protobuf's JSON; a Message's and a Datagram's are epoch, seq
// and message. Hex may have spaces.
type golden struct {
	Name   string          `json:"name"`
	Type   string          `json:"type"`
	Ref    uint64          `json:"ref"`
	Fields json.RawMessage `json:"fields"`
	// DecodeOnly: bytes that are read so, but never written.
	DecodeOnly bool   `json:"decode_only,omitempty"`
	Hex        string `json:"hex"`
}

// bodies returns a new message for the body of every type but Message, Cancel, Ping and Pong.
var bodies = map[string]func() proto.Message{
	"Hello":     func() proto.Message { return new(wire.Hello) },
	"Publish":   func() proto.Message { return new(wire.Publish) },
	"Subscribe": func() proto.Message { return new(wire.Subscribe) },
	"Credit":    func() proto.Message { return new(wire.Credit) },
	"Refresh":   func() proto.Message { return new(wire.Refresh) },
	"Welcome":   func() proto.Message { return new(wire.Welcome) },
	"OK":        func() proto.Message { return new(wire.OK) },
	"End":       func() proto.Message { return new(wire.End) },
	"Gap":       func() proto.Message { return new(wire.Gap) },
	"Status":    func() proto.Message { return new(wire.Status) },
	"GoAway":    func() proto.Message { return new(wire.GoAway) },
}

func typeOf(t *testing.T, name string) wire.Type {
	for typ := range wire.Type(0x40) {
		if typ.Known() && typ.String() == name {
			return typ
		}
	}
	t.Fatalf("no type %q", name)
	return 0
}

// A positioned is the fields of a Message frame and of a datagram.
type positioned struct {
	Epoch   uint64          `json:"epoch,string"`
	Seq     uint64          `json:"seq,string"`
	Message json.RawMessage `json:"message"`
}

func (g *golden) positioned(t *testing.T) (positioned, *wire.Message) {
	var p positioned
	if err := json.Unmarshal(g.Fields, &p); err != nil {
		t.Fatal(err)
	}
	m := new(wire.Message)
	if err := protojson.Unmarshal(p.Message, m); err != nil {
		t.Fatal(err)
	}
	return p, m
}

func (g *golden) proto(t *testing.T) proto.Message {
	m := bodies[g.Type]()
	if err := protojson.Unmarshal(g.Fields, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func (g *golden) bytes(t testing.TB) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(g.Hex, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", g.Name, err)
	}
	return b
}

func (g *golden) encode(t *testing.T) []byte {
	switch g.Type {
	case "Datagram":
		p, m := g.positioned(t)
		return wire.AppendDatagram(nil, g.Ref, p.Epoch, p.Seq, marshal(t, m))
	case "Message":
		p, m := g.positioned(t)
		return wire.AppendMessage(nil, g.Ref, p.Epoch, p.Seq, marshal(t, m))
	case "Cancel", "Ping", "Pong":
		return wire.AppendFrame(nil, typeOf(t, g.Type), g.Ref, nil)
	}
	return wire.AppendProto(nil, typeOf(t, g.Type), g.Ref, g.proto(t))
}

func marshal(t testing.TB, m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadGolden(t testing.TB) []*golden {
	raw, err := os.ReadFile("testdata/frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []*golden
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestGoldenEncode(t *testing.T) {
	list := loadGolden(t)
	for _, g := range list {
		if g.DecodeOnly {
			continue
		}
		got := g.encode(t)
		if *update {
			g.Hex = hex.EncodeToString(got)
		}
		if want := g.bytes(t); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded %x, want %x", g.Name, got, want)
		}
	}
	if *update {
		writeGolden(t, list)
	}
}

// writeGolden writes one frame a line.
func writeGolden(t *testing.T, list []*golden) {
	var b bytes.Buffer
	for i, g := range list {
		b.WriteString([]string{"[\n  ", ",\n  "}[min(i, 1)])
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(g); err != nil {
			t.Fatal(err)
		}
		b.Truncate(b.Len() - 1)
	}
	b.WriteString("\n]\n")
	if err := os.WriteFile("testdata/frames.json", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenAppenders holds the encoders that are written by hand to the same bytes.
func TestGoldenAppenders(t *testing.T) {
	for _, g := range loadGolden(t) {
		if g.DecodeOnly {
			continue
		}
		var got []byte
		switch g.Type {
		case "Publish":
			p := g.proto(t).(*wire.Publish)
			got = wire.AppendPublish(nil, g.Ref, wire.PublishView{
				Channel: []byte(p.Channel), Producer: p.Producer, N: p.N, AgeMS: p.AgeMs,
				Void: p.Void, Subject: []byte(p.Subject), Body: p.Body,
			})
		case "Credit":
			got = wire.AppendCredit(nil, g.Ref, g.proto(t).(*wire.Credit).Bytes)
		case "OK":
			if p := g.proto(t).(*wire.OK); p.TokenExpiresMs == 0 {
				got = wire.AppendOK(nil, g.Ref, p.Epoch, p.Seq, p.HeadEpoch, p.HeadSeq)
			}
		case "Message":
			p, m := g.positioned(t)
			publisher, at := m.Publisher, m.TimeMs
			m.Publisher, m.TimeMs = "", 0
			body := wire.AppendStamp(marshal(t, m), publisher, at)
			got = append(wire.AppendMessageHeader(nil, g.Ref, p.Epoch, p.Seq, len(body)), body...)
		}
		if got != nil && !bytes.Equal(got, g.bytes(t)) {
			t.Errorf("%s: appended %x, want %x", g.Name, got, g.bytes(t))
		}
	}
}

func TestGoldenDecode(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range loadGolden(t) {
		seen[g.Type] = true
		if g.Type == "Datagram" {
			ref, epoch, seq, body, err := wire.ScanDatagram(g.bytes(t))
			if err != nil || ref != g.Ref {
				t.Errorf("%s: ref %d, %v", g.Name, ref, err)
			}
			g.checkMessage(t, epoch, seq, body)
			continue
		}
		got := readAll(wire.NewReader(bytes.NewReader(g.bytes(t))))
		if len(got.frames) != 1 || got.frames[0].Type.String() != g.Type || got.frames[0].Ref != g.Ref {
			t.Errorf("%s: read %+v", g.Name, got)
			continue
		}
		g.checkBody(t, got.frames[0].Body)
	}
	for typ := range wire.Type(0x40) {
		if typ.Known() && !seen[typ.String()] {
			t.Errorf("%v has no golden bytes", typ)
		}
	}
}

func (g *golden) checkBody(t *testing.T, body []byte) {
	switch g.Type {
	case "Cancel", "Ping", "Pong":
		if len(body) != 0 {
			t.Errorf("%s: body %x", g.Name, body)
		}
		return
	case "Message":
		epoch, seq, rest, err := wire.ScanPosition(body)
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
		g.checkMessage(t, epoch, seq, rest)
		return
	case "Publish":
		want := g.proto(t).(*wire.Publish)
		p, err := wire.ScanPublish(body)
		got := &wire.Publish{Channel: string(p.Channel), Producer: p.Producer, N: p.N, AgeMs: p.AgeMS, Void: p.Void, Subject: string(p.Subject), Body: p.Body}
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: scanned %v, %v; want %v", g.Name, got, err, want)
		}
	case "OK":
		want := g.proto(t).(*wire.OK)
		if epoch, seq, err := wire.ScanOK(body); err != nil || epoch != want.Epoch || seq != want.Seq {
			t.Errorf("%s: scanned %d:%d, %v", g.Name, epoch, seq, err)
		}
	case "Credit":
		if n, err := wire.ScanCredit(body); err != nil || n != g.proto(t).(*wire.Credit).Bytes {
			t.Errorf("%s: scanned %d, %v", g.Name, n, err)
		}
	}
	got := bodies[g.Type]()
	if err := proto.Unmarshal(body, got); err != nil {
		t.Errorf("%s: %v", g.Name, err)
	}
	got.ProtoReflect().SetUnknown(nil)
	if want := g.proto(t); !proto.Equal(got, want) {
		t.Errorf("%s: decoded %v, want %v", g.Name, got, want)
	}
}

func (g *golden) checkMessage(t *testing.T, epoch, seq uint64, body []byte) {
	p, want := g.positioned(t)
	got := new(wire.Message)
	if err := proto.Unmarshal(body, got); err != nil {
		t.Errorf("%s: %v", g.Name, err)
	}
	if epoch != p.Epoch || seq != p.Seq || !proto.Equal(got, want) {
		t.Errorf("%s: decoded %d:%d %v, want %d:%d %v", g.Name, epoch, seq, got, p.Epoch, p.Seq, want)
	}
	if string(wire.Key(body)) != want.Key || wire.TimeMS(body) != want.TimeMs {
		t.Errorf("%s: key %q, time %d", g.Name, wire.Key(body), wire.TimeMS(body))
	}
}
