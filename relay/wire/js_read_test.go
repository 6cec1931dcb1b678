package wire_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay/wire"
)

// day bounds a client's durations, in milliseconds.
const day = 86_400_000

// readBody reads the body of a frame that comes down, with the bounds that a client holds it to,
// as protobuf's JSON. false: it ends the session. nil fields are not to be compared.
func readBody(t *testing.T, f wire.Frame) (map[string]any, bool) {
	if session := f.Type == wire.TypeWelcome || f.Type == wire.TypeGoAway; session != (f.Ref == 0) && f.Type != wire.TypeEnd {
		return nil, false
	}
	switch f.Type {
	case wire.TypePong:
		return map[string]any{}, true
	case wire.TypeMessage:
		epoch, seq, body, err := wire.ScanPosition(f.Body)
		if err != nil || !sound(body, 3) {
			return nil, false
		}
		return messageFields(t, epoch, seq, body), true
	}
	nested := map[wire.Type]protowire.Number{wire.TypeWelcome: 4, wire.TypeEnd: 5}[f.Type]
	m := bodies[f.Type.String()]()
	if !sound(f.Body, nested) || proto.Unmarshal(f.Body, m) != nil || !bound(m) {
		return nil, false
	}
	return jsonOf(t, m), true
}

// sound reports whether a body has the structure of protobuf 3, without groups; so for what is
// nested in it under the number given.
func sound(b []byte, nested protowire.Number) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber || typ == protowire.StartGroupType || typ == protowire.EndGroupType {
			return false
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return false
		}
		if num == nested && typ == protowire.BytesType {
			if inner, _ := protowire.ConsumeBytes(b[n:]); !sound(inner, 0) {
				return false
			}
		}
		b = b[n+size:]
	}
	return true
}

// bound holds m to what a client's numbers hold, and leaves out what a client has no use for.
// false: a position is beyond 2^53.
func bound(m proto.Message) bool {
	switch m := m.(type) {
	case *wire.Welcome:
		m.Version, m.Features = 0, 0
		m.TokenExpiresMs = min(m.TokenExpiresMs, day)
		if l := m.Limits; l != nil {
			l.Payload, l.Unanswered = min(l.Payload, wire.MaxRef), min(l.Unanswered, wire.MaxRef)
			l.ProtoReflect().SetUnknown(nil)
			if proto.Size(l) == 0 {
				m.Limits = nil
			}
		}
	case *wire.OK:
		m.TokenExpiresMs = min(m.TokenExpiresMs, day)
		return max(m.Epoch, m.Seq, m.HeadEpoch, m.HeadSeq) <= wire.MaxRef
	case *wire.End:
		m.Code = min(m.Code, 999)
		m.RetryAfterMs, m.DeadlineMs = min(m.RetryAfterMs, day), min(m.DeadlineMs, day)
		if h := m.Hint; h != nil {
			if h.Shard = ""; len(h.Alternatives) == 0 {
				m.Hint = nil
			}
		}
		return max(m.Epoch, m.Seq) <= wire.MaxRef
	case *wire.Gap:
		if m.Reason < wire.GapReason_GAP_TRIMMED || m.Reason > wire.GapReason_GAP_EPOCH {
			m.Reason = wire.GapReason_GAP_TRIMMED
		}
		return max(m.AfterEpoch, m.AfterSeq, m.NextEpoch, m.NextSeq) <= wire.MaxRef
	case *wire.Status:
		if !slices.Contains([]wire.State{wire.State_STATE_LOST, wire.State_STATE_RESTORED}, m.State) {
			m.State = 0 // not told
		}
	case *wire.GoAway:
		m.Reason, m.DeadlineMs = min(m.Reason, 999), min(m.DeadlineMs, day)
	}
	return true
}

// messageFields returns a message's fields; nil if its text is not UTF-8, which each language
// mends in its own way.
func messageFields(t *testing.T, epoch, seq uint64, body []byte) map[string]any {
	m := new(wire.Message)
	if proto.Unmarshal(body, m) != nil {
		return nil
	}
	m.TimeMs = min(m.TimeMs, 8_640_000_000_000_000)
	fields := map[string]any{}
	for name, v := range map[string]uint64{"epoch": epoch, "seq": seq} {
		if v > 0 {
			fields[name] = strconv.FormatUint(v, 10)
		}
	}
	if message := jsonOf(t, m); len(message) > 0 {
		fields["message"] = message
	}
	return fields
}

func jsonOf(t *testing.T, m proto.Message) map[string]any {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
