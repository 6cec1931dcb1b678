package relaytest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func testFirstFrame(t *testing.T, u relay.Upstream, ch relay.Channel) {
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	ok := r.Expect(relay.KindOK)
	if ok.At != ok.Next || ok.At.Epoch == 0 {
		t.Fatalf("live on an empty channel: %s", Describe(ok))
	}
	at := Put(t, u, ch, "x")
	if f := r.Expect(relay.KindMessage); f.At != at || at != ok.At.Next() {
		t.Fatalf("the first message is %v, published at %v, begun at %v", f.At, at, ok.At)
	}
	r2 := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	if ok := r2.Expect(relay.KindOK); ok.At != at || ok.Next != at {
		t.Fatalf("live behind %v: %s", at, Describe(ok))
	}
}

func testRefusals(t *testing.T, u relay.Upstream, ch relay.Channel) {
	for _, c := range []struct {
		ch   relay.Channel
		code relay.Code
	}{{"nowhere:x", relay.UnknownNamespace}, {"x", relay.BadChannel}} {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: c.ch})
		f := r.Expect(relay.KindEnd)
		if f.End.Code != c.code || f.End.Detail == "" {
			t.Errorf("%s: %s, want %v and a detail", c.ch, Describe(f), c.code)
		}
	}
}

func testStarts(t *testing.T, u relay.Upstream, ch relay.Channel) {
	first := relay.Start{Kind: relay.StartFirst}
	empty := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: first})
	empty.Expect(relay.KindOK)
	at := puts(t, u, ch, 5)
	empty.Messages(5)
	// A hub's head may lag behind its home's: look until it has come up.
	for deadline := time.Now().Add(patience); ; {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
		ok := r.Expect(relay.KindOK)
		r.Close()
		if ok.Next == at[4] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("head %v, want %v", ok.Next, at[4])
		}
	}
	for _, c := range []struct {
		name string
		from relay.Start
		skip int // messages before the start
	}{
		{"first", first, 0},
		{"after zero", relay.Start{Kind: relay.StartAfter}, 0},
		{"after the epoch's begin", relay.Start{Kind: relay.StartAfter, After: relay.Position{Epoch: at[0].Epoch}}, 0},
		{"after 2", relay.Start{Kind: relay.StartAfter, After: at[1]}, 2},
		{"after the last", relay.Start{Kind: relay.StartAfter, After: at[4]}, 5},
		{"last 2", relay.Start{Kind: relay.StartLast, Count: 2}, 3},
		{"last 5", relay.Start{Kind: relay.StartLast, Count: 5}, 0},
		{"last 99", relay.Start{Kind: relay.StartLast, Count: 99}, 0},
		{"last 0", relay.Start{Kind: relay.StartLast}, 5},
		{"since an hour", relay.Start{Kind: relay.StartSince, Since: time.Hour}, 0},
		{"live", relay.Start{}, 5},
	} {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: c.from})
		ok := r.Expect(relay.KindOK)
		if ok.Next != at[4] {
			t.Errorf("%s: head %v, want %v", c.name, ok.Next, at[4])
		}
		if c.skip > 0 && ok.At != at[c.skip-1] {
			t.Errorf("%s: begins at %v, want %v", c.name, ok.At, at[c.skip-1])
		}
		for i, f := range r.Messages(5 - c.skip) {
			if f.At != at[c.skip+i] {
				t.Errorf("%s: message %v, want %v", c.name, f.At, at[c.skip+i])
			}
		}
	}
}

func testSince(t *testing.T, u relay.Upstream, ch relay.Channel) {
	at := puts(t, u, ch, 3)
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartSince, Since: -time.Hour}})
	if ok := r.Expect(relay.KindOK); ok.At != at[2] {
		t.Fatalf("since a time to come: %s, want it at %v", Describe(ok), at[2])
	}
}

func testLimit(t *testing.T, u relay.Upstream, ch relay.Channel) {
	at := puts(t, u, ch, 10)
	r := Subscribe(t, u, relay.SubscribeRequest{
		Channel: ch, From: relay.Start{Kind: relay.StartAfter, After: at[1]}, Limit: 3})
	r.Expect(relay.KindOK)
	payloads(t, r.Messages(3), "2", "3", "4")
	if f := r.Expect(relay.KindEnd); f.End.Code != relay.Done {
		t.Fatal(Describe(f))
	}
}

func testLimitHead(t *testing.T, u relay.Upstream, ch relay.Channel) {
	first := relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}, Limit: 100}
	r := Subscribe(t, u, first)
	r.Expect(relay.KindOK)
	if code := r.Code(); code != relay.Done {
		t.Fatal(code)
	}
	puts(t, u, ch, 4)
	r = Subscribe(t, u, first)
	r.Expect(relay.KindOK)
	r.Messages(4)
	if code := r.Code(); code != relay.Done {
		t.Fatal(code)
	}
}

// P4: a barrier begins at or after what was acknowledged, and what comes after it arrives.
func testBarrier(t *testing.T, u relay.Upstream, ch relay.Channel) {
	for i := range 20 {
		at := Put(t, u, ch, "before")
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, Barrier: true})
		ok := r.Expect(relay.KindOK)
		if ok.At.Before(at) {
			t.Fatalf("round %d: begins at %v, before the acknowledged %v", i, ok.At, at)
		}
		after := Put(t, u, ch, fmt.Sprint(i))
		if f := r.Expect(relay.KindMessage); f.At != after {
			t.Fatalf("round %d: message %v, published at %v", i, f.At, after)
		}
		r.Close()
	}
}

// P2 and P4 while a publisher is at work.
func testJoin(t *testing.T, u relay.Upstream, ch relay.Channel) {
	const n, readers, unanswered = 3000, 20, 10
	var wg sync.WaitGroup
	step := make(chan struct{}, readers)
	wg.Go(func() {
		defer close(step)
		p := producer()
		for i := 0; i < n; i += unanswered {
			flight(t, u, ch, p, i+1, unanswered, func(int) []byte { return Body("x", "") })
			if i%(n/readers) == 0 {
				step <- struct{}{}
			}
		}
	})
	var list []*Reader
	var begun []relay.Position
	for range step {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
		list = append(list, r)
		begun = append(begun, r.Expect(relay.KindOK).At)
	}
	wg.Wait()
	end := Put(t, u, ch, "end")
	for i, r := range list {
		last := begun[i]
		for last != end {
			f := r.Expect(relay.KindMessage)
			if f.At != last.Next() {
				t.Fatalf("reader %d: message %v after %v", i, f.At, last)
			}
			last = f.At
		}
	}
}
