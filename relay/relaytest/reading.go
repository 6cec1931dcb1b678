package relaytest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// P2: a Gap names what retention removed.
func testTrimmed(t *testing.T, u relay.Upstream, _ relay.Channel) {
	ch := fresh(Short)
	at := puts(t, u, ch, 100)
	last := at[99]
	// Retention works beside publishing: look until it has been by.
	for deadline := time.Now().Add(patience); ; {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}, Limit: 1})
		if ok := r.Expect(relay.KindOK); at[85].Before(ok.At) {
			r.Close()
			break
		}
		r.Close()
		if time.Now().After(deadline) {
			t.Fatalf("100 messages are still there after %v; ten are kept", patience)
		}
		last = Put(t, u, ch, "more")
	}
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartAfter, After: at[2]}})
	if ok := r.Expect(relay.KindOK); ok.At != at[2] {
		t.Fatalf("begins at %v, want %v", ok.At, at[2])
	}
	gap := r.Expect(relay.KindGap)
	if gap.At != at[2] || gap.Reason != relay.GapTrimmed {
		t.Fatalf("%s, want it after %v, trimmed", Describe(gap), at[2])
	}
	for next := gap.Next; ; next = next.Next() {
		f := r.Expect(relay.KindMessage)
		if f.At != next {
			t.Fatalf("message %v, want %v after %s", f.At, next, Describe(gap))
		}
		if f.At == last {
			break
		}
	}
}

// A position that was never given out: a Gap leads back to what exists.
func testUnknownEpoch(t *testing.T, u relay.Upstream, ch relay.Channel) {
	at := puts(t, u, ch, 3)
	for _, after := range []relay.Position{
		{Epoch: at[0].Epoch + 5, Seq: 7},
		{Epoch: at[0].Epoch, Seq: 1000},
	} {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartAfter, After: after}})
		r.Expect(relay.KindOK)
		gap := r.Expect(relay.KindGap)
		if gap.At != after || gap.Next != at[0] || gap.Reason != relay.GapEpoch {
			t.Fatalf("after %v: %s, want it to lead to %v, epoch", after, Describe(gap), at[0])
		}
		payloads(t, r.Messages(3), "0", "1", "2")
	}
}

// latest reads in mode latest until the message at last: positions grow, without Gaps.
func latest(t *testing.T, r *Reader, last relay.Position) map[string]string {
	t.Helper()
	newest := make(map[string]string)
	for at := (relay.Position{}); at != last; {
		f := r.Expect(relay.KindMessage)
		if !at.Before(f.At) {
			t.Fatalf("message %v after %v", f.At, at)
		}
		at = f.At
		m := Decode(t, f.Body)
		newest[m.Key] = string(m.Payload)
	}
	return newest
}

func putKeyed(t *testing.T, u relay.Upstream, ch relay.Channel, p relay.Producer, from, to int) (last relay.Position) {
	t.Helper()
	at := flight(t, u, ch, p, from+1, to-from, func(i int) []byte {
		i += from
		return Body(fmt.Sprint(i), []string{"", "a", "b", "c"}[i%4])
	})
	return at[len(at)-1]
}

func testLatest(t *testing.T, u relay.Upstream, ch relay.Channel) {
	last := putKeyed(t, u, ch, producer(), 0, 40)
	r := Subscribe(t, u, relay.SubscribeRequest{
		Channel: ch, Mode: relay.Latest, From: relay.Start{Kind: relay.StartFirst}})
	r.Expect(relay.KindOK)
	frames := r.Messages(4) // 36 to 39 stand side by side
	payloads(t, frames, "36", "37", "38", "39")
	if frames[3].At != last {
		t.Fatalf("ends at %v, want %v", frames[3].At, last)
	}
}

// A reader that looks rarely gets the newest of every key, whatever it missed.
func testLatestCatchesUp(t *testing.T, u relay.Upstream, ch relay.Channel) {
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, Mode: relay.Latest})
	r.Expect(relay.KindOK)
	p := producer()
	for round := range 3 {
		last := putKeyed(t, u, ch, p, round*400, round*400+400)
		got := latest(t, r, last)
		for i, key := range []string{"", "a", "b", "c"} {
			if want := fmt.Sprint(round*400 + 396 + i); got[key] != want {
				t.Fatalf("round %d: key %q is %q, want %s", round, key, got[key], want)
			}
		}
	}
}

func testWakeOnce(t *testing.T, u relay.Upstream, ch relay.Channel) {
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	r.Expect(relay.KindOK)
	fence := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	fence.Expect(relay.KindOK)
	for round := range 20 {
		for len(r.Pull(1<<20)) > 0 { // until it is waiting
		}
		before, _ := r.Wakes()
		puts(t, u, ch, 5)
		fence.Messages(5)
		for got := 0; got < 5; { // what it was woken for may come in parts
			r.Await()
			frames := r.Pull(1 << 20)
			if len(frames) == 0 && round == 0 {
				t.Fatal("woken for nothing")
			}
			got += len(frames)
		}
		if came, allowed := r.Wakes(); came > allowed || came == before {
			t.Fatalf("woken %d times, allowed %d", came, allowed)
		}
	}
}

func testMaxBytes(t *testing.T, u relay.Upstream, ch relay.Channel) {
	const n, size = 50, 1000
	for range n {
		Put(t, u, ch, strings.Repeat("x", size))
	}
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}})
	r.Expect(relay.KindOK)
	r.pending = nil // begin again with small bites
	r = Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}})
	got := 0
	for got < n {
		if !r.hungry {
			r.Await()
		}
		bytes := 0
		for _, f := range r.Pull(2500) {
			if f.Kind == relay.KindMessage {
				got++
				bytes += len(f.Body)
			}
		}
		if bytes > 2500+size+64 {
			t.Fatalf("%d bytes in one Next that allowed 2,500", bytes)
		}
	}
	r = Subscribe(t, u, relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartFirst}})
	for got, idle := 0, 0; got < n; {
		if !r.hungry {
			r.Await()
			idle++
		}
		for _, f := range r.Pull(1) {
			if f.Kind == relay.KindMessage {
				got, idle = got+1, 0
			}
		}
		if idle > 2*n {
			t.Fatal("a Next of one byte gives nothing")
		}
	}
}

func testLentIntact(t *testing.T, u relay.Upstream, ch relay.Channel) {
	r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	r.Expect(relay.KindOK)
	p := producer()
	for round := range 10 {
		puts(t, u, ch, 20)
		r.Await()
		lent := r.Pull(1 << 20)
		var copies [][]byte
		for _, f := range lent {
			copies = append(copies, slices.Clone(f.Body))
		}
		flight(t, u, ch, p, 1+200*round, 200, func(int) []byte { return Body(strings.Repeat("y", 500), "") })
		for i, f := range lent {
			if !bytes.Equal(f.Body, copies[i]) {
				t.Fatalf("round %d: the body of %v changed while it was lent", round, f.At)
			}
		}
		for r.hungry = true; r.hungry; {
			r.Pull(1 << 20)
		}
	}
}

func testClose(t *testing.T, u relay.Upstream, ch relay.Channel) {
	stay := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	stay.Expect(relay.KindOK)
	for i := range 100 {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
		if i%2 == 0 {
			r.Expect(relay.KindOK)
		}
		if i%10 == 0 {
			Put(t, u, ch, "x")
		}
		r.Close()
	}
	stay.Messages(10)
}

// A reader that stopped harms nobody, and reads on without loss.
func testSlowReader(t *testing.T, u relay.Upstream, ch relay.Channel) {
	slow := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	slow.Expect(relay.KindOK)
	fast := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
	fast.Expect(relay.KindOK)
	const rounds, each = 30, 100
	p := producer()
	for round := range rounds {
		flight(t, u, ch, p, 1+each*round, each, func(int) []byte { return Body(strings.Repeat("x", 1000), "") })
		fast.Messages(each)
	}
	slow.Messages(rounds * each)
}

func testManyReaders(t *testing.T, u relay.Upstream, ch relay.Channel) {
	var list []*Reader
	for range 200 {
		r := Subscribe(t, u, relay.SubscribeRequest{Channel: ch})
		list = append(list, r)
	}
	for _, r := range list {
		r.Expect(relay.KindOK)
	}
	puts(t, u, ch, 50)
	for _, r := range list {
		r.Messages(50)
	}
}
