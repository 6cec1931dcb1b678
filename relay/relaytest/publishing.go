package relaytest

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func testStamp(t *testing.T, u relay.Upstream, ch relay.Channel) {
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	r.Expect(relay.KindOK)
	o := Publish(t, u, relay.Publication{Channel: ch, Subject: "alice", Body: Body("hello", "k")})
	m := Decode(t, r.Expect(relay.KindMessage).Body)
	if string(m.Payload) != "hello" || m.Key != "k" || m.Publisher != "alice" || m.TimeMs == 0 {
		t.Fatalf("message %v: %v", o.At, m)
	}
}

// P10, and seq is contiguous.
func testOrder(t *testing.T, u relay.Upstream, ch relay.Channel) {
	const n = 2000
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	ok := r.Expect(relay.KindOK)
	p := producer()
	var waits []<-chan Outcome
	for i := range n {
		waits = append(waits, Send(t, u, numbered(ch, p, uint64(i+1), fmt.Sprint(i))))
	}
	var last relay.Position
	for i, w := range waits {
		o := <-w
		if o.End.Code != relay.Done {
			t.Fatalf("n=%d: %v %s", i+1, o.End.Code, o.End.Detail)
		}
		if i > 0 && o.At != last.Next() {
			t.Fatalf("n=%d at %v after %v", i+1, o.At, last)
		}
		last = o.At
	}
	for i, f := range r.Messages(n) {
		if got := string(Decode(t, f.Body).Payload); got != fmt.Sprint(i) {
			t.Fatalf("message %v: %q, want %d", f.At, got, i)
		}
		if !ok.At.Before(f.At) {
			t.Fatalf("message %v, though the subscription begins at %v", f.At, ok.At)
		}
	}
}

func testAnswerOutside(t *testing.T, u relay.Upstream, ch relay.Channel) {
	answered := make(chan bool, 4)
	err := u.Publish(relay.Publication{Channel: ch, Body: Body("x", "")}, func(relay.Position, relay.End) {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		answered <- bytes.Contains(stack, []byte("relaytest.testAnswerOutside(")) // the caller of Publish
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case inside := <-answered:
		if inside {
			t.Fatal("answered from inside Publish")
		}
	case <-time.After(patience):
		t.Fatal("no answer")
	}
	Put(t, u, ch, "fence")
	if len(answered) > 0 {
		t.Fatal("answered twice")
	}
}

func testBodyLent(t *testing.T, u relay.Upstream, ch relay.Channel) {
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	r.Expect(relay.KindOK)
	body := Body("precious", "")
	Publish(t, u, relay.Publication{Channel: ch, Body: body})
	for i := range body {
		body[i] = 0xdb
	}
	payloads(t, r.Messages(1), "precious")
}

func testPublishRefusals(t *testing.T, u relay.Upstream, ch relay.Channel) {
	for _, c := range []struct {
		what string
		p    relay.Publication
		code relay.Code
	}{
		{"unknown namespace", relay.Publication{Channel: "nowhere:x", Body: Body("x", "")}, relay.UnknownNamespace},
		{"no namespace", relay.Publication{Channel: "x", Body: Body("x", "")}, relay.BadChannel},
		{"payload", relay.Publication{Channel: ch, Body: Body(strings.Repeat("x", 64<<10+1), "")}, relay.TooLarge},
		{"key", relay.Publication{Channel: ch, Body: Body("x", strings.Repeat("k", 257))}, relay.TooLarge},
		{"malformed", relay.Publication{Channel: ch, Body: []byte{0xff}}, relay.BadRequest},
		{"stamped", relay.Publication{Channel: ch, Body: []byte{0x78, 1}}, relay.BadRequest},
	} {
		o := Publish(t, u, c.p)
		if o.End.Code != c.code {
			t.Errorf("%s: %v %q, want %v", c.what, o.End.Code, o.End.Detail, c.code)
		}
		if o.End.Detail == "" {
			t.Errorf("%s: no detail for a person", c.what)
		}
	}
}

// P5.
func testRepeat(t *testing.T, u relay.Upstream, ch relay.Channel) {
	p := producer()
	first := want(t, u, numbered(ch, p, 1, "a"), relay.Done)
	again := want(t, u, numbered(ch, p, 1, "a"), relay.Done)
	second := want(t, u, numbered(ch, p, 2, "b"), relay.Done)
	if again.At != first.At || second.At != first.At.Next() {
		t.Fatalf("at %v, repeated %v, next %v", first.At, again.At, second.At)
	}
	if o := want(t, u, numbered(ch, p, 1, "a"), relay.Done); o.At != first.At {
		t.Fatalf("repeated at %v, was %v", o.At, first.At)
	}
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}, Limit: 10})
	r.Expect(relay.KindOK)
	payloads(t, r.Messages(2), "a", "b")
	if code := r.Code(); code != relay.Done {
		t.Fatal(code)
	}
}

func testWindow(t *testing.T, u relay.Upstream, ch relay.Channel) {
	const window, n = 1024, 1100
	p := producer()
	at := make([]relay.Position, n+1)
	var waits []<-chan Outcome
	for i := range n {
		waits = append(waits, Send(t, u, numbered(ch, p, uint64(i+1), fmt.Sprint(i))))
	}
	for i, w := range waits {
		at[i+1] = (<-w).At
	}
	for _, i := range []int{n, n - 1, n - 500, n - window + 1} {
		if o := want(t, u, numbered(ch, p, uint64(i), fmt.Sprint(i-1)), relay.Done); o.At != at[i] {
			t.Fatalf("n=%d repeated at %v, was %v", i, o.At, at[i])
		}
	}
	want(t, u, numbered(ch, p, n-window, fmt.Sprint(n-window-1)), relay.TooOld)
	want(t, u, numbered(ch, p, 1, "0"), relay.TooOld)
}

func testNumbers(t *testing.T, u relay.Upstream, ch relay.Channel) {
	p := producer()
	want(t, u, numbered(ch, p, 2, "x"), relay.OutOfOrder) // it was not applied, surely
	old := numbered(ch, p, 2, "x")
	old.Age = 6 * time.Minute
	want(t, u, old, relay.TooOld)
	want(t, u, numbered(ch, p, 1, "a"), relay.Done)
	want(t, u, numbered(ch, p, 3, "c"), relay.OutOfOrder)
	want(t, u, numbered(ch, p, 1, "other"), relay.Conflict)
	want(t, u, numbered(ch, p, 2, "b"), relay.Done)
	want(t, u, numbered(ch, p, 3, "c"), relay.Done)
	want(t, u, relay.Publication{Channel: ch, Producer: p, Body: Body("x", "")}, relay.BadRequest)
	want(t, u, relay.Publication{Channel: ch, N: 1, Body: Body("x", "")}, relay.BadRequest)
}

func testVoid(t *testing.T, u relay.Upstream, ch relay.Channel) {
	p := producer()
	void := func(n uint64) relay.Publication {
		return relay.Publication{Channel: ch, Subject: "alice", Producer: p, N: n, Void: true}
	}
	a := want(t, u, numbered(ch, p, 1, "a"), relay.Done)
	if o := want(t, u, void(1), relay.Done); o.At != a.At {
		t.Fatalf("void of an applied number answers %v, not %v", o.At, a.At)
	}
	want(t, u, void(2), relay.Voided)
	want(t, u, void(2), relay.Voided)
	want(t, u, numbered(ch, p, 2, "b"), relay.Voided)
	if c := want(t, u, numbered(ch, p, 3, "c"), relay.Done); c.At != a.At.Next() {
		t.Fatalf("a void took a position: %v after %v", c.At, a.At)
	}
	want(t, u, void(5), relay.OutOfOrder)
}

func testAge(t *testing.T, u relay.Upstream, ch relay.Channel) {
	p := producer()
	old := numbered(ch, p, 1, "a")
	old.Age = 6 * time.Minute
	want(t, u, old, relay.TooOld)
	old.Age = 4 * time.Minute
	want(t, u, old, relay.Done)
	old = numbered(ch, p, 2, "b")
	old.Age = 6 * time.Minute
	want(t, u, old, relay.TooOld)
	want(t, u, numbered(ch, p, 2, "b"), relay.Done)
}

// Who knows another's producer, or works out the one of an id, can neither take it nor learn
// or change what became of its numbers.
func testProducerBound(t *testing.T, u relay.Upstream, ch relay.Channel) {
	p := producer()
	by := func(subject relay.Subject, n uint64, payload string) relay.Publication {
		q := numbered(ch, p, n, payload)
		q.Subject = subject
		return q
	}
	squatted := want(t, u, by("mallory", 1, "a"), relay.Done)
	first := want(t, u, numbered(ch, p, 1, "a"), relay.Done)
	if first.At != squatted.At.Next() {
		t.Fatalf("published at %v, after another subject's at %v", first.At, squatted.At)
	}
	want(t, u, by("mallory", 2, "c"), relay.Done)
	want(t, u, numbered(ch, p, 2, "b"), relay.Done)
	if o := want(t, u, by("mallory", 1, "a"), relay.Done); o.At != squatted.At {
		t.Fatalf("repeated at %v, was %v", o.At, squatted.At)
	}
	if o := want(t, u, numbered(ch, p, 1, "a"), relay.Done); o.At != first.At {
		t.Fatalf("repeated at %v, was %v", o.At, first.At)
	}
}
