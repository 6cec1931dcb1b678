package core

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

func plain() map[relay.Namespace]channel.Policy {
	return map[relay.Namespace]channel.Policy{"demo": {}}
}

func message(ch relay.Channel, payload string) relay.Publication {
	return relay.Publication{Channel: ch, Subject: "alice", Body: relaytest.Body(payload, "")}
}

// Whatever waits when Run ends is answered or ended, and nothing waits for ever afterwards.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := NewBare(BareConfig{Namespaces: plain()})
		if err != nil {
			t.Fatal(err)
		}
		var codes []relay.Code
		for range 10 {
			if err := b.Publish(message("demo:x", "1"), func(_ relay.Position, end relay.End) {
				codes = append(codes, end.Code)
			}); err != nil {
				t.Fatal(err)
			}
		}
		before := relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for _, c := range codes {
			if c != relay.Done && c != relay.Unknown {
				t.Errorf("answered %v", c)
			}
		}
		if len(codes) != 10 {
			t.Errorf("%d answers to 10 publishes", len(codes))
		}
		after := relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"})
		for _, r := range []*relaytest.Reader{before, after} {
			r.Expect(relay.KindOK)
			if code := r.Code(); code != relay.Unavailable {
				t.Errorf("ended with %v", code)
			}
		}
		if err := b.Publish(message("demo:x", "1"), nil); err != relay.ErrBusy {
			t.Errorf("Publish after Run: %v", err)
		}
	})
}

// P8: publishes that wait are bounded in bytes; past it ErrBusy, and room again later.
func TestQueueBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 100_000
		b, err := NewBare(BareConfig{Namespaces: plain(), Queue: bound})
		if err != nil {
			t.Fatal(err)
		}
		p := message("demo:x", strings.Repeat("x", 1000))
		taken, answered := 0, 0
		for ; ; taken++ {
			if err := b.Publish(p, func(relay.Position, relay.End) { answered++ }); err != nil {
				break
			}
		}
		if bytes := taken * (len(p.Body) + commandCost); bytes > bound || bytes < bound-2000 {
			t.Errorf("%d publishes of %d bytes were taken", taken, len(p.Body))
		}
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		synctest.Wait()
		if answered != taken {
			t.Errorf("%d answers to %d publishes", answered, taken)
		}
		for range taken {
			if err := b.Publish(p, func(relay.Position, relay.End) {}); err != nil {
				t.Fatal("no room though all was answered")
			}
		}
		cancel()
		synctest.Wait()
	})
}

// P8: the state as a whole is bounded; retention makes room again.
func TestMemoryBound(t *testing.T) {
	b := open(t, BareConfig{Memory: 1 << 20, Namespaces: map[relay.Namespace]channel.Policy{
		"demo": {Bytes: 1 << 30}}})
	n := 0
	for ; n < 10_000; n++ {
		o := relaytest.Publish(t, b, message("demo:x", strings.Repeat("x", 1000)))
		if o.End.Code == relay.Busy {
			if o.End.RetryAfter <= 0 || o.End.Detail == "" {
				t.Errorf("busy without when or why: %+v", o.End)
			}
			break
		}
	}
	if n < 800 || n > 1100 {
		t.Fatalf("full after %d messages of 1 KB; the bound is 1 MiB", n)
	}
	if err := b.Define(map[relay.Namespace]channel.Policy{"demo": {Bytes: 100_000}}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if relaytest.Publish(t, b, message("demo:x", "y")).End.Code == relay.Done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still full, though the policy keeps a tenth")
		}
	}
}

func TestSubscriptionBound(t *testing.T) {
	b := open(t, BareConfig{Namespaces: plain(), Subscriptions: 2})
	one := relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"})
	relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"}).Expect(relay.KindOK)
	over := relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"})
	if code := over.Code(); code != relay.Busy {
		t.Fatalf("the third of two: %v", code)
	}
	over.Close()
	one.Close()
	relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"}).Expect(relay.KindOK)
}

// A subscription on a channel that is not there yet gets its first message without a Gap,
// however the floor rises meanwhile; unless the channel came and went in between.
func TestAbsentChannelThenBorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := NewBare(BareConfig{Namespaces: map[relay.Namespace]channel.Policy{
			"demo": {Age: time.Minute, ForgetAfter: time.Minute}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		r := relaytest.Subscribe(t, b, relay.SubscribeRequest{Channel: "demo:x"})
		r.Expect(relay.KindOK)
		r.Pull(1000)
		first := relaytest.Put(t, b, "demo:other", "1")
		time.Sleep(5 * time.Minute) // virtual: other is forgotten, and the floor rises
		at := relaytest.Put(t, b, "demo:x", "1")
		if at.Epoch <= first.Epoch {
			t.Fatalf("epoch %d after %d was forgotten", at.Epoch, first.Epoch)
		}
		if f := r.Expect(relay.KindMessage); f.At != at {
			t.Fatal(relaytest.Describe(f))
		}
		r.Pull(1000)
		time.Sleep(5 * time.Minute)
		at = relaytest.Put(t, b, "demo:x", "2")
		if f := r.Expect(relay.KindGap); f.Next != at || f.Reason != relay.GapEpoch {
			t.Fatal(relaytest.Describe(f))
		}
		cancel()
		synctest.Wait()
	})
}

// Answers and wakes come outside all locks: they may use the Bare.
func TestAnswerMayPublish(t *testing.T) {
	b := open(t, BareConfig{Namespaces: plain()})
	done := make(chan int, 1)
	n := 0
	var again func(relay.Position, relay.End)
	again = func(relay.Position, relay.End) {
		if n++; n == 100 {
			done <- n
			return
		}
		s := b.Subscribe(relay.SubscribeRequest{Channel: "demo:x"}, func() {})
		s.Next(nil, 100)
		s.Close()
		if err := b.Publish(message("demo:x", "1"), again); err != nil {
			t.Error(err)
		}
	}
	again(relay.Position{}, relay.End{})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("stuck")
	}
}

// Subscriptions cost memory, but no goroutine.
func TestManySubscriptions(t *testing.T) {
	b := open(t, BareConfig{Namespaces: plain()})
	relaytest.Put(t, b, "demo:x", "1")
	const n = 20_000
	wakes := make(chan struct{}, 2*n)
	wake := func() { wakes <- struct{}{} }
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	subs := make([]relay.Subscription, n)
	for i := range subs {
		subs[i] = b.Subscribe(relay.SubscribeRequest{Channel: "demo:x"}, wake)
		subs[i].Next(nil, 1000)
	}
	for range n {
		<-wakes // the first
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines, %d before", g, goroutines)
	}
	t.Logf("%d bytes for each subscription", (heapInUse()-heap)/n)
	relaytest.Put(t, b, "demo:x", "2")
	for range n {
		<-wakes
	}
	for i, s := range subs {
		if f := s.Next(nil, 1000); len(f) != 1 || f[0].Kind != relay.KindMessage {
			t.Fatalf("subscription %d: %v", i, f)
		}
		s.Close()
	}
}

// Whoever closes is woken no more, and whoever stays is, in whatever order they go.
func TestCloseWhileArmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := NewBare(BareConfig{Namespaces: plain()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		const n = 8
		for round := range 50 {
			var subs [n]relay.Subscription
			var wakes [n]int
			for i := range subs {
				subs[i] = b.Subscribe(relay.SubscribeRequest{Channel: "demo:x"}, func() { wakes[i]++ })
			}
			synctest.Wait()
			for _, s := range subs {
				s.Next(nil, 1000)
			}
			var closed [n]bool
			for i := range n {
				k := (i*(round*2+1) + round) % n
				if i <= round%n {
					subs[k].Close()
					closed[k] = true
				}
			}
			relaytest.Put(t, b, "demo:x", "1")
			synctest.Wait()
			for i := range subs {
				if want := 2; closed[i] != (wakes[i] == 1) || !closed[i] && wakes[i] != want {
					t.Fatalf("round %d, subscription %d: closed %v, woken %d times", round, i, closed[i], wakes[i])
				}
				subs[i].Close()
			}
			if len(b.topics.armed) > 0 || b.topics.count > 0 {
				t.Fatal("something is left of closed subscriptions")
			}
		}
		cancel()
		synctest.Wait()
	})
}

// Producers are forgotten ten minutes after their last use, and no memory stays.
func TestProducersExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := NewBare(BareConfig{Namespaces: plain()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		entries := b.view.Len()
		go b.Run(ctx)
		var waits []<-chan relaytest.Outcome
		for i := range 10_000 {
			p := message("demo:x", "1")
			p.Producer, p.N = relay.ProducerOf("alice", fmt.Sprint(i)), 1
			waits = append(waits, relaytest.Send(t, b, p))
		}
		for i, w := range waits {
			if o := <-w; o.End.Code != relay.Done {
				t.Fatalf("producer %d: %v %s", i, o.End.Code, o.End.Detail)
			}
		}
		synctest.Wait() // and Run rests
		b.mu.RLock()    // upkeep may be under way
		size := b.view.Size()
		b.mu.RUnlock()
		time.Sleep(channel.ProducerTTL + channel.DefaultAge/channel.LateShare + time.Second)
		synctest.Wait()
		if n := b.view.Len(); n > entries+3 {
			t.Errorf("%d entries stay, %d before", n, entries)
		}
		t.Logf("%d bytes for each message with a producer of its own", size/10_000)
		cancel()
		synctest.Wait()
	})
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Retention keeps pace with publishing.
func TestRetentionKeepsPace(t *testing.T) {
	b := open(t, BareConfig{Namespaces: map[relay.Namespace]channel.Policy{"demo": {Count: 1000}}})
	var last <-chan relaytest.Outcome
	most := 0
	for i := range 20_000 {
		last = relaytest.Send(t, b, message("demo:x", fmt.Sprint(i)))
		if i%1000 == 0 {
			<-last
			b.mu.RLock()
			most = max(most, b.view.Len())
			b.mu.RUnlock()
		}
	}
	if most > 8_000 {
		t.Fatalf("%d entries at a time; the policy keeps 1,000 messages", most)
	}
	t.Logf("at most %d entries of 20,000", most)
}
