package wire_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay/wire"
)

// seedFrames adds every golden and every bad stream.
func seedFrames(f *testing.F) {
	for _, g := range loadGolden(f) {
		f.Add(g.bytes(f))
	}
	for _, bad := range loadBad(f).Streams {
		f.Add(unhex(f, bad.Name, bad.Hex))
	}
}

// seedBodies adds every bad body of the kind, and the body of every golden frame of the type.
func seedBodies(f *testing.F, of string, typ wire.Type) {
	for _, bad := range loadBad(f).Bodies {
		if bad.Of == of {
			f.Add(unhex(f, bad.Name, bad.Hex))
		}
	}
	for _, g := range loadGolden(f) {
		got := readAll(wire.NewReader(bytes.NewReader(g.bytes(f))))
		for _, frame := range got.frames {
			if frame.Type == typ {
				f.Add(frame.Body)
			}
		}
	}
}

// FuzzReader: pieces make no difference, frames keep their bounds, and what was read, written
// again, reads the same.
func FuzzReader(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := readAll(wire.NewReader(bytes.NewReader(in)))
		slow := readAll(wire.NewReader(iotest.OneByteReader(bytes.NewReader(in))))
		if err := sameRead(whole, slow); err != nil {
			t.Fatal(err)
		}
		var again []byte
		for _, frame := range whole.frames {
			if !frame.Type.Known() || frame.Ref > wire.MaxRef || len(frame.Body) > frame.Type.Bound() {
				t.Fatalf("%v ref %d of %d bytes", frame.Type, frame.Ref, len(frame.Body))
			}
			if frame.Skipped && (frame.Type != wire.TypePublish || frame.Body != nil) {
				t.Fatalf("skipped %v with %d bytes", frame.Type, len(frame.Body))
			}
			if !frame.Skipped {
				again = wire.AppendFrame(again, frame.Type, frame.Ref, frame.Body)
			}
		}
		back := readAll(wire.NewReader(bytes.NewReader(again)))
		i := 0
		for _, frame := range whole.frames {
			if frame.Skipped {
				continue
			}
			if b := back.frames[i]; b.Type != frame.Type || b.Ref != frame.Ref || !bytes.Equal(b.Body, frame.Body) {
				t.Fatalf("frame %d written again reads %+v, not %+v", i, b, frame)
			}
			i++
		}
	})
}

// FuzzScanPublish holds the scanner to the generated decoder.
func FuzzScanPublish(f *testing.F) {
	seedBodies(f, "publish", wire.TypePublish)
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := wire.ScanPublish(in)
		want := new(wire.Publish)
		if wantErr := proto.Unmarshal(in, want); wantErr != nil {
			// What only the scanner takes is a channel that is not UTF-8, now or repeated.
			if err == nil && bytes.Equal(bytes.ToValidUTF8(in, nil), in) {
				t.Fatalf("scanned what does not unmarshal: %v", wantErr)
			}
			return
		}
		if err != nil {
			if hasGroup(in) || len(want.Subject) > wire.MaxSubject {
				return
			}
			t.Fatalf("unmarshals, but: %v", err)
		}
		got := &wire.Publish{
			Channel: string(p.Channel), Producer: p.Producer, N: p.N, AgeMs: p.AgeMS, Void: p.Void,
			Subject: string(p.Subject), Body: p.Body,
		}
		want.ProtoReflect().SetUnknown(nil)
		if !proto.Equal(got, want) {
			t.Fatalf("scanned %v, want %v", got, want)
		}
		frame := wire.AppendPublish(nil, 9, p)
		if direct := wire.AppendProto(nil, wire.TypePublish, 9, want); !bytes.Equal(frame, direct) {
			t.Fatalf("appended %x, want %x", frame, direct)
		}
		if n := cap(p.Body); n != len(p.Body) {
			t.Fatalf("body of %d bytes has room for %d: appending would write over what follows", len(p.Body), n)
		}
	})
}

// hasGroup reports whether b has a group, which scanners refuse and protobuf ignores.
func hasGroup(b []byte) bool {
	for len(b) > 0 {
		_, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return false
		}
		if typ == protowire.StartGroupType {
			return true
		}
		b = b[n:]
	}
	return false
}

// FuzzScanCredit holds the scanner to the generated decoder.
func FuzzScanCredit(f *testing.F) {
	seedBodies(f, "credit", wire.TypeCredit)
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := wire.ScanCredit(in)
		want := new(wire.Credit)
		wantErr := proto.Unmarshal(in, want)
		if (err == nil) != (wantErr == nil) && !hasGroup(in) {
			t.Fatalf("scan %v, unmarshal %v", err, wantErr)
		}
		if err == nil && got != want.Bytes {
			t.Fatalf("scanned %d, want %d", got, want.Bytes)
		}
		if err == nil {
			frame := readAll(wire.NewReader(bytes.NewReader(wire.AppendCredit(nil, 1, got))))
			if again, err := wire.ScanCredit(frame.frames[0].Body); err != nil || again != got {
				t.Fatalf("appended %d, scanned %d, %v", got, again, err)
			}
		}
	})
}

// FuzzScanOK holds the scanner to the generated decoder.
func FuzzScanOK(f *testing.F) {
	seedBodies(f, "ok", wire.TypeOK)
	f.Fuzz(func(t *testing.T, in []byte) {
		epoch, seq, err := wire.ScanOK(in)
		want := new(wire.OK)
		wantErr := proto.Unmarshal(in, want)
		beyond := max(want.Epoch, want.Seq) > wire.MaxRef
		if (err == nil) != (wantErr == nil) && !hasGroup(in) && !beyond {
			t.Fatalf("scan %v, unmarshal %v", err, wantErr)
		}
		if err == nil && (epoch != want.Epoch || seq != want.Seq) {
			t.Fatalf("scanned %d:%d, want %d:%d", epoch, seq, want.Epoch, want.Seq)
		}
	})
}

// FuzzCheckPublished: a body that passes decodes everywhere, has the sizes that were measured,
// and fits, stamped, into a Message frame.
func FuzzCheckPublished(f *testing.F) {
	seedBodies(f, "message", wire.TypePublish)
	for _, g := range loadGolden(f) {
		if g.Type == "Publish" {
			frame := readAll(wire.NewReader(bytes.NewReader(g.bytes(f)))).frames[0]
			if p, err := wire.ScanPublish(frame.Body); err == nil {
				f.Add(p.Body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		size, err := wire.CheckPublished(in)
		m := new(wire.Message)
		wantErr := proto.Unmarshal(in, m)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrTooLarge) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if wantErr != nil {
			t.Fatalf("passed, but does not unmarshal: %v", wantErr)
		}
		if m.Publisher != "" || m.TimeMs != 0 {
			t.Fatalf("passed with publisher %q, time %d", m.Publisher, m.TimeMs)
		}
		if size.Payload != len(m.Payload) || size.Key != len(m.Key) || len(in) > size.Payload+size.Key+size.Headers+16 {
			t.Fatalf("measured %+v of %d bytes: payload %d, key %d", size, len(in), len(m.Payload), len(m.Key))
		}
		stamped := wire.AppendStamp(bytes.Clone(in), "user-17", 1767225600000)
		if got := new(wire.Message); proto.Unmarshal(stamped, got) != nil || got.Publisher != "user-17" ||
			got.TimeMs != 1767225600000 || !bytes.Equal(got.Payload, m.Payload) {
			t.Fatalf("stamped: %v", got)
		}
		if string(wire.Key(stamped)) != m.Key || wire.TimeMS(stamped) != 1767225600000 {
			t.Fatalf("key %q, time %d", wire.Key(stamped), wire.TimeMS(stamped))
		}
	})
}

// FuzzKey: the key is the one that a decoder finds, and nothing panics.
func FuzzKey(f *testing.F) {
	seedBodies(f, "message", wire.TypeMessage)
	f.Add([]byte("\x12\x01a\x7a\x01b\x78\x05"))
	f.Fuzz(func(t *testing.T, in []byte) {
		key, at := wire.Key(in), wire.TimeMS(in)
		if m := new(wire.Message); proto.Unmarshal(in, m) == nil && !hasGroup(in) {
			if string(key) != m.Key || at != m.TimeMs {
				t.Fatalf("key %q, time %d; want %q, %d", key, at, m.Key, m.TimeMs)
			}
		}
	})
}

// FuzzScanDatagram: what is read, written again, reads the same; so for the position in it.
func FuzzScanDatagram(f *testing.F) {
	seedBodies(f, "datagram", 0)
	seedBodies(f, "position", wire.TypeMessage)
	f.Fuzz(func(t *testing.T, in []byte) {
		ref, epoch, seq, body, err := wire.ScanDatagram(in)
		if err != nil {
			return
		}
		if ref > wire.MaxRef || epoch > wire.MaxRef || seq > wire.MaxRef || !bytes.HasSuffix(in, body) {
			t.Fatalf("ref %d, position %d:%d", ref, epoch, seq)
		}
		again := wire.AppendDatagram(nil, ref, epoch, seq, body)
		if len(again) > len(in) {
			t.Fatalf("%d bytes written again take %d", len(in), len(again))
		}
		ref2, epoch2, seq2, body2, err := wire.ScanDatagram(again)
		if err != nil || ref2 != ref || epoch2 != epoch || seq2 != seq || !bytes.Equal(body, body2) {
			t.Fatalf("written again: %d %d:%d %x, %v", ref2, epoch2, seq2, body2, err)
		}
	})
}
