package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/relay/wire"
)

// largest returns the largest body that CheckPublished lets pass: payload, key and headers at
// their limits.
func largest(t *testing.T) []byte {
	m := &wire.Message{
		Payload: make([]byte, wire.MaxPayload), Key: strings.Repeat("k", wire.MaxKey),
		Headers: map[string]string{}, ContentType: strings.Repeat("c", 1000),
	}
	m.Headers["h"] = strings.Repeat("v", wire.MaxHeaders-1000-20) // 20: more than tags and lengths
	b := marshal(t, m)
	size, err := wire.CheckPublished(b)
	for err == nil && size.Headers < wire.MaxHeaders {
		m.Headers["h"] += "v"
		b = marshal(t, m)
		size, err = wire.CheckPublished(b)
	}
	if err != nil || size != (wire.MessageSize{Payload: wire.MaxPayload, Key: wire.MaxKey, Headers: wire.MaxHeaders}) {
		t.Fatalf("%+v, %v", size, err)
	}
	return b
}

// TestWhatPassesFits: the largest publish fits its frame, and what the home makes of it fits a
// Message frame. Else it would end the session of every subscriber.
func TestWhatPassesFits(t *testing.T) {
	body := largest(t)
	frame := wire.AppendPublish(nil, wire.MaxRef, wire.PublishView{
		Channel: bytes.Repeat([]byte("c"), 32+1+192), Producer: make([]byte, 16), N: wire.MaxRef,
		AgeMS: 1<<64 - 1, Void: true, Subject: bytes.Repeat([]byte("s"), wire.MaxSubject), Body: body,
	})
	f, err := wire.NewReader(bytes.NewReader(frame)).Next()
	if err != nil || f.Skipped {
		t.Fatalf("the largest Publish: skipped %v, %v", f.Skipped, err)
	}
	p, err := wire.ScanPublish(f.Body)
	if err != nil {
		t.Fatal(err)
	}
	stamped := wire.AppendStamp(bytes.Clone(p.Body), string(p.Subject), 1<<64-1)
	if len(stamped) > wire.MaxMessage {
		t.Fatalf("stamped it has %d bytes; MaxMessage is %d", len(stamped), wire.MaxMessage)
	}
	frame = wire.AppendMessage(nil, wire.MaxRef, wire.MaxRef, wire.MaxRef, stamped)
	if f, err = wire.NewReader(bytes.NewReader(frame)).Next(); err != nil || f.Type != wire.TypeMessage {
		t.Fatalf("the largest Message: %v", err)
	}
}

// TestLimitsHold: one byte more than allowed is refused, whichever way it is put in.
func TestLimitsHold(t *testing.T) {
	unknown := append([]byte{0xa2, 0x06, 0x80, 0x20}, make([]byte, wire.MaxHeaders)...) // field 100
	for name, b := range map[string][]byte{
		"payload":       marshal(t, &wire.Message{Payload: make([]byte, wire.MaxPayload+1)}),
		"key":           marshal(t, &wire.Message{Key: strings.Repeat("k", wire.MaxKey+1)}),
		"content type":  marshal(t, &wire.Message{ContentType: strings.Repeat("c", wire.MaxHeaders)}),
		"one header":    marshal(t, &wire.Message{Headers: map[string]string{"h": strings.Repeat("v", wire.MaxHeaders)}}),
		"empty headers": bytes.Repeat([]byte{0x1a, 0}, wire.MaxHeaders/2+1),
		"unknown":       unknown,
		"unknown, many": bytes.Repeat([]byte{0x28, 1}, wire.MaxHeaders/2+1),
		"one more":      append(largest(t), 0x28, 1),
	} {
		if size, err := wire.CheckPublished(b); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s: measured %+v, %v; want ErrTooLarge", name, size, err)
		}
	}
	subject := bytes.Repeat([]byte("s"), wire.MaxSubject+1)
	frame := wire.AppendPublish(nil, 1, wire.PublishView{Subject: subject})
	f, err := wire.NewReader(bytes.NewReader(frame)).Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ScanPublish(f.Body); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("subject of %d bytes: %v", len(subject), err)
	}
}

// TestScannedPartsHaveNoRoom: appending to a part must not write over what follows it.
func TestScannedPartsHaveNoRoom(t *testing.T) {
	frame := wire.AppendProto(nil, wire.TypePublish, 1, &wire.Publish{Channel: "a:b", Body: []byte("\x0a\x01x\x12\x01k")})
	frame = append(frame, wire.AppendCredit(nil, 1, 1)...)
	r := wire.NewReader(bytes.NewReader(frame))
	f, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	p, err := wire.ScanPublish(f.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(p.Channel, "zzzz"...)
	_ = append(wire.Key(p.Body), "zzzz"...)
	wire.AppendStamp(p.Body, "zzzz", 5)
	if string(p.Body) != "\x0a\x01x\x12\x01k" {
		t.Errorf("body became %q", p.Body)
	}
	if f, err = r.Next(); err != nil || f.Type != wire.TypeCredit {
		t.Errorf("the next frame became %v, %v", f.Type, err)
	}
}

func TestUvarintLen(t *testing.T) {
	for bits := range 64 {
		for _, v := range []uint64{1<<bits - 1, 1 << bits, 1<<bits + 1} {
			if got, want := wire.UvarintLen(v), len(wire.AppendHeader(nil, wire.Type(v), 0, 0))-2; got != want {
				t.Fatalf("%d: %d, want %d", v, got, want)
			}
		}
	}
}
