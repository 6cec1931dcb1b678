package relaytest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// Body returns the body of a message with a payload and, if it is not empty, a key.
func Body(payload, key string) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&wire.Message{Payload: []byte(payload), Key: key})
	if err != nil {
		panic(err)
	}
	return b
}

// Decode reads a message's body.
func Decode(t testing.TB, body []byte) *wire.Message {
	t.Helper()
	m := new(wire.Message)
	if err := proto.Unmarshal(body, m); err != nil {
		t.Fatalf("message %x: %v", body, err)
	}
	return m
}

// An Outcome is how a publish ended.
type Outcome struct {
	At  relay.Position
	End relay.End
}

// Send publishes without waiting; the channel yields the outcome. The body is destroyed with the
// answer: it is lent no longer.
func Send(t testing.TB, u relay.Upstream, p relay.Publication) <-chan Outcome {
	t.Helper()
	done := make(chan Outcome, 2)
	p.Body = slices.Clone(p.Body)
	for deadline := time.Now().Add(patience); ; {
		err := u.Publish(p, func(at relay.Position, end relay.End) {
			for i := range p.Body {
				p.Body[i] = 0xdb
			}
			done <- Outcome{at, end}
		})
		if err == nil {
			break
		}
		if err != relay.ErrBusy || time.Now().After(deadline) {
			t.Fatalf("Publish: %v", err)
		}
		<-time.After(time.Millisecond)
	}
	return done
}

// Publish publishes and waits for the outcome.
func Publish(t testing.TB, u relay.Upstream, p relay.Publication) Outcome {
	t.Helper()
	select {
	case o := <-Send(t, u, p):
		return o
	case <-time.After(patience):
		t.Fatalf("no answer to %s n=%d within %v", p.Channel, p.N, patience)
		panic("unreachable")
	}
}

// Put publishes a payload, which has to succeed.
func Put(t testing.TB, u relay.Upstream, ch relay.Channel, payload string) relay.Position {
	t.Helper()
	o := Publish(t, u, relay.Publication{Channel: ch, Subject: "alice", Body: Body(payload, "")})
	if o.End.Code != relay.Done {
		t.Fatalf("publish %q to %s: %v %s", payload, ch, o.End.Code, o.End.Detail)
	}
	return o.At
}

// Describe writes a frame for a person.
func Describe(f relay.Frame) string {
	switch f.Kind {
	case relay.KindOK:
		return fmt.Sprintf("OK at %v head %v", f.At, f.Next)
	case relay.KindMessage:
		return fmt.Sprintf("Message %v of %d bytes", f.At, len(f.Body))
	case relay.KindGap:
		return fmt.Sprintf("Gap after %v next %v %v", f.At, f.Next, f.Reason)
	case relay.KindStatus:
		return fmt.Sprintf("Status %v", f.State)
	case relay.KindEnd:
		return fmt.Sprintf("End %v at %v: %s", f.End.Code, f.At, f.End.Detail)
	}
	return fmt.Sprintf("frame of kind %d", f.Kind)
}
