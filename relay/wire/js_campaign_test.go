package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/relay/wire"
)

// Codes of what ends a session, as docs/protocol.md has them.
const (
	jsProtocol    = 10
	jsUnsupported = 11
	jsTooLarge    = 13
)

// TestCampaignJavaScript holds client/js's codec to this one: random frames made by one and read
// by the other, and damaged ones, on which both must agree. MERIDIAN_SEED (1) and MERIDIAN_FOR
// (3s) choose the rounds.
func TestCampaignJavaScript(t *testing.T) {
	seed, length := campaign.Settings(t, 3*time.Second)
	js := startJS(t)
	for _, g := range loadGolden(t) {
		if g.Type != "Datagram" {
			checkDown(t, js, g.bytes(t), nil)
		}
	}
	for _, bad := range loadBad(t).Streams {
		checkDown(t, js, unhex(t, bad.Name, bad.Hex), nil)
	}
	rounds, ended := 0, map[int]int{}
	for start := time.Now(); time.Since(start) < length && !t.Failed(); rounds++ {
		r := jsRandom{rand.New(rand.NewPCG(seed+uint64(rounds), 0))}
		stream := r.down(1 + r.IntN(6))
		if code := checkDown(t, js, stream, r.cuts(len(stream))); code != 0 {
			t.Errorf("Go's own frames end with code %d", code)
		}
		for range 3 {
			damaged := r.damage(stream)
			ended[checkDown(t, js, damaged, r.cuts(len(damaged)))]++
		}
		datagram := wire.AppendDatagram(nil, r.number(), r.number(), r.number(), marshal(t, r.message()))
		checkDatagram(t, js, datagram)
		checkDatagram(t, js, r.damage(datagram))
		checkUp(t, js, seed+uint64(rounds), 1+r.IntN(6))
		if t.Failed() {
			t.Logf("failed with MERIDIAN_SEED=%d", seed+uint64(rounds))
		}
	}
	t.Logf("%d rounds from seed %d; damaged streams by the code that ends them: %v", rounds, seed, ended)
	for _, code := range []int{0, jsProtocol, jsUnsupported, jsTooLarge} {
		if rounds > 100 && ended[code] == 0 {
			t.Errorf("no damaged stream ended with code %d: the damage is not what it was", code)
		}
	}
}

// checkDown has a stream read by both, and returns the code that ends it.
func checkDown(t *testing.T, js *jsCodec, stream []byte, cuts []int) int {
	t.Helper()
	got := js.ask(jsAsk{Down: stream, Cuts: cuts})
	want, code := readDown(t, stream)
	if got.Code != code {
		t.Errorf("%x: JavaScript ends with code %d, Go with %d", stream, got.Code, code)
	}
	compareFrames(t, stream, got.Frames, want)
	return code
}

func compareFrames(t *testing.T, stream []byte, got, want []jsFrame) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%x: JavaScript reads %d frames, Go %d", stream, len(got), len(want))
		return
	}
	for i := range want {
		if want[i].Fields == nil {
			got[i].Fields = nil // not to be compared
		}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%x: frame %d: JavaScript has\n%v\nGo\n%v", stream, i, got[i], want[i])
		}
	}
}

// readDown reads a stream as the specification says a client reads it.
func readDown(t *testing.T, stream []byte) (list []jsFrame, code int) {
	r := wire.NewReader(bytes.NewReader(stream))
	for {
		f, err := r.Next()
		switch {
		case err == io.EOF:
			return list, 0
		case f.Type.Known() && f.Type < wire.TypeWelcome: // goes up, however long
			return list, jsProtocol
		case errors.Is(err, wire.ErrTooLarge):
			return list, jsTooLarge
		case errors.Is(err, wire.ErrUnsupported):
			return list, jsUnsupported
		case err != nil:
			return list, jsProtocol
		}
		fields, ok := readBody(t, f)
		if !ok {
			return list, jsProtocol
		}
		if f.Type != wire.TypeStatus || fields["state"] != nil {
			list = append(list, jsFrame{Type: f.Type.String(), Ref: f.Ref, Fields: fields})
		}
	}
}

// checkDatagram has a datagram read by both.
func checkDatagram(t *testing.T, js *jsCodec, datagram []byte) {
	t.Helper()
	if len(datagram) == 0 {
		return // asks for nothing
	}
	got := js.ask(jsAsk{Datagram: datagram})
	var want []jsFrame
	if ref, epoch, seq, body, err := wire.ScanDatagram(datagram); err == nil && sound(body, 3) {
		want = []jsFrame{{Type: "Datagram", Ref: ref, Fields: messageFields(t, epoch, seq, body)}}
	}
	compareFrames(t, datagram, got.Frames, want)
}

// checkUp reads what JavaScript writes, which must be the bytes that Go writes.
func checkUp(t *testing.T, js *jsCodec, seed uint64, n int) {
	t.Helper()
	wrote := js.ask(jsAsk{Up: seed%1e9 + 1, Count: n})
	var got []jsFrame
	var again []byte
	for _, f := range readAll(wire.NewReader(bytes.NewReader(wrote.Bytes))).frames {
		frame := jsFrame{Type: f.Type.String(), Ref: f.Ref, Fields: map[string]any{}}
		if f.Type == wire.TypeCancel || f.Type == wire.TypePing {
			again = wire.AppendFrame(again, f.Type, f.Ref, f.Body)
		} else {
			m := bodies[frame.Type]()
			if err := proto.Unmarshal(f.Body, m); err != nil {
				t.Fatalf("%v %x: %v", f.Type, f.Body, err)
			}
			frame.Fields = jsonOf(t, m)
			again = wire.AppendProto(again, f.Type, f.Ref, m)
		}
		if f.Type == wire.TypePublish {
			frame.Message = publishedFields(t, f.Body)
		}
		got = append(got, frame)
	}
	compareFrames(t, wrote.Bytes, wrote.Frames, got)
	if !bytes.Equal(again, wrote.Bytes) {
		t.Errorf("JavaScript writes %x, Go %x", wrote.Bytes, again)
	}
}

// publishedFields reads the message in a Publish, which the home must take, and Go must write
// alike: what comes twice under one id is compared byte for byte.
func publishedFields(t *testing.T, publish []byte) map[string]any {
	t.Helper()
	p, err := wire.ScanPublish(publish)
	if err != nil {
		t.Fatalf("%x: %v", publish, err)
	}
	if _, err := wire.CheckPublished(p.Body); err != nil {
		t.Errorf("%x: %v", p.Body, err)
	}
	m := new(wire.Message)
	if err := proto.Unmarshal(p.Body, m); err != nil {
		t.Fatalf("%x: %v", p.Body, err)
	}
	if again := marshal(t, m); !bytes.Equal(again, p.Body) {
		t.Errorf("JavaScript encodes a message as %x, Go as %x", p.Body, again)
	}
	return jsonOf(t, m)
}
