package edge

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
	"github.com/meridian-relay/meridian/relay/wire"

	"google.golang.org/protobuf/proto"
)

func payload(s string) []byte {
	b, _ := proto.Marshal(&wire.Message{Payload: []byte(s)}) // valid
	return b
}

// chain returns a batch of messages without ids.
func chain(payloads ...string) *batch {
	b := &batch{channel: "demo:x", subject: "s"}
	for i, p := range payloads {
		b.items = append(b.items, item{body: payload(p), producer: relay.Producer{1}, n: uint64(i + 1), chained: true})
	}
	return b
}

// run runs b in the background; the channel is closed when it is done.
func run(ctx context.Context, b *batch, up relay.Upstream) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.run(ctx, up)
	}()
	return done
}

// After a lost answer the same number is sent again, older; after a final refusal the number is
// used up, so that those behind it can commit.
func TestBatchGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := relaytest.NewFake()
		b := chain("1", "2", "3")
		done := run(t.Context(), b, f)
		synctest.Wait()
		at := func(seq relay.Seq) relay.Position { return relay.Position{Epoch: 7, Seq: seq} }
		answer := func(i int, n uint64, void bool, at relay.Position, end relay.End) {
			t.Helper()
			p := f.AwaitPublish(t, i)
			if p.N != n || p.Void != void || p.Void != (len(p.Body) == 0) {
				t.Fatalf("publish %d: n %d, void %v, %d bytes; want n %d, void %v", i, p.N, p.Void, len(p.Body), n, void)
			}
			p.Answer(at, end)
		}
		answer(0, 1, false, relay.Position{}, relay.End{Code: relay.Unknown})
		answer(1, 2, false, relay.Position{}, relay.End{Code: relay.OutOfOrder})
		answer(2, 3, false, relay.Position{}, relay.End{Code: relay.OutOfOrder, RetryAfter: 700 * time.Millisecond})
		begun := time.Now()
		answer(3, 1, false, at(1), relay.End{})
		if waited := time.Since(begun); waited < 700*time.Millisecond {
			t.Errorf("repeated after %v; asked for 700 ms", waited)
		}
		if age := f.AwaitPublish(t, 3).Age; age < 700*time.Millisecond {
			t.Errorf("a repeat's age is %v", age)
		}
		answer(4, 2, false, relay.Position{}, relay.End{Code: relay.TooLarge, Detail: "too large"})
		answer(5, 3, false, relay.Position{}, relay.End{Code: relay.OutOfOrder})
		answer(6, 2, true, relay.Position{}, relay.End{Code: relay.Voided})
		answer(7, 3, false, at(2), relay.End{})
		<-done
		if b.items[0].at != at(1) || b.items[1].end.Code != relay.TooLarge || b.items[1].end.Detail != "too large" || b.items[2].at != at(2) {
			t.Errorf("%+v", b.items)
		}
	})
}

// A number that the home does not know because the one before was lost is not too old. When
// the first one is, the producer is closed, and nothing more is sent under it.
func TestBatchTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := relaytest.NewFake()
		b := chain("1", "2", "3")
		done := run(t.Context(), b, f)
		f.AwaitPublish(t, 0).Answer(relay.Position{}, relay.End{Code: relay.Unknown})
		f.AwaitPublish(t, 1).Answer(relay.Position{}, relay.End{Code: relay.TooOld})
		f.AwaitPublish(t, 2).Answer(relay.Position{}, relay.End{Code: relay.TooOld})
		f.AwaitPublish(t, 3).Answer(relay.Position{Epoch: 1, Seq: 1}, relay.End{})
		f.AwaitPublish(t, 4).Answer(relay.Position{}, relay.End{Code: relay.TooOld})
		f.AwaitPublish(t, 5).Answer(relay.Position{}, relay.End{Code: relay.TooOld})
		<-done
		if n := len(f.Publishes()); n != 6 {
			t.Errorf("%d publishes; want 6", n)
		}
		for i, want := range []relay.Code{relay.Done, relay.TooOld, relay.TooOld} {
			if got := b.items[i].end.Code; got != want {
				t.Errorf("message %d: %v; want %v", i, got, want)
			}
		}
	})
}

// The last message's refusal needs no void, nor does one with an id.
func TestBatchVoidsOnlyWhatOthersNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := relaytest.NewFake()
		b := chain("1", "2")
		b.items = append(b.items, item{body: payload("id"), producer: relay.ProducerOf("s", "id"), n: 1})
		done := run(t.Context(), b, f)
		for i := range 3 {
			f.AwaitPublish(t, i).Answer(relay.Position{}, relay.End{Code: relay.Forbidden})
		}
		<-done
		if n := len(f.Publishes()); n != 3 {
			t.Errorf("%d publishes; want 3", n)
		}
	})
}

// What cannot be settled is given up after a while, with what was last heard.
func TestBatchGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := relaytest.NewFake()
		f.SetBusy(true)
		b := chain("1", "2")
		begun := time.Now()
		<-run(t.Context(), b, f)
		if took := time.Since(begun); took > repeatFor {
			t.Errorf("it took %v", took)
		}
		if b.items[0].end.Code != relay.Busy || b.items[1].end.Code != relay.Unknown {
			t.Errorf("%+v", b.items)
		}

		// An attempt that may have taken effect is not forgotten over a later one that did not.
		f.SetBusy(false)
		b = chain("1")
		done := run(t.Context(), b, f)
		f.AwaitPublish(t, 0).Answer(relay.Position{}, relay.End{Code: relay.Unknown})
		f.SetBusy(true)
		<-done
		if end := b.items[0].end; end.Code != relay.Unknown {
			t.Errorf("%+v", end)
		}

		// A client that has gone is not worked for.
		ctx, cancel := context.WithCancel(t.Context())
		f.SetBusy(false)
		done = run(ctx, chain("1"), f)
		last := f.AwaitPublish(t, 1)
		cancel()
		<-done
		last.Answer(relay.Position{}, relay.End{}) // late, and heard by nobody
	})
}

// A flaky way to a home loses publishes and answers, and is busy.
type flaky struct {
	relay.Upstream
	mu   sync.Mutex
	rand *rand.Rand
}

func (f *flaky) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	f.mu.Lock()
	fate := f.rand.IntN(20)
	f.mu.Unlock()
	switch fate {
	case 0:
		return relay.ErrBusy
	case 1:
		go answer(relay.Position{}, relay.End{Code: relay.Unavailable, RetryAfter: 10 * time.Millisecond})
		return nil
	case 2:
		go answer(relay.Position{}, relay.End{Code: relay.Unknown})
		return nil
	case 3:
		return f.Upstream.Publish(p, func(relay.Position, relay.End) { answer(relay.Position{}, relay.End{Code: relay.Unknown}) })
	}
	return f.Upstream.Publish(p, answer)
}

// Over a way that loses and refuses, every message that was answered stands once, in order, at
// the position answered; none that was refused stands.
func TestCampaignBatch(t *testing.T) {
	t.Parallel()
	seed, length := campaign.Settings(t, 3*time.Second)
	random := rand.New(rand.NewPCG(seed, 0))
	for end, round := time.Now().Add(length), 0; time.Now().Before(end) && !t.Failed(); round++ {
		way := rand.New(rand.NewPCG(random.Uint64(), 0))
		synctest.Test(t, func(t *testing.T) { batchRound(t, way) })
	}
}

func batchRound(t *testing.T, random *rand.Rand) {
	home, err := core.NewBare(core.BareConfig{
		Namespaces: map[relay.Namespace]channel.Policy{"demo": {Payload: 20}}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = home.Run(ctx) }()
	way := &flaky{Upstream: home, rand: random}

	b := chain()
	for i := range 1 + random.IntN(60) {
		text := fmt.Sprint(i)
		if random.IntN(8) == 0 {
			text += " and longer than twenty bytes"
		}
		it := item{body: payload(text), producer: relay.Producer{1}, n: 1, chained: true}
		for _, before := range b.items {
			if before.chained {
				it.n++
			}
		}
		if random.IntN(8) == 0 {
			it.producer, it.n, it.chained = relay.ProducerOf("s", text), 1, false
		}
		b.items = append(b.items, it)
	}
	b.run(ctx, way)

	stands := make(map[relay.Position]string)
	var last relay.Position
	reader := relaytest.Subscribe(t, home, relay.SubscribeRequest{Channel: b.channel, From: relay.Start{Kind: relay.StartFirst}, Limit: 1000})
	for f := reader.Frame(); f.Kind != relay.KindEnd; f = reader.Frame() {
		if f.Kind == relay.KindMessage {
			var m wire.Message
			if err := proto.Unmarshal(f.Body, &m); err != nil {
				t.Fatal(err)
			}
			stands[f.At], last = string(m.Payload), f.At
		}
	}
	reader.Close()
	if int(last.Seq) != len(stands) {
		t.Errorf("%d messages stand, up to %v", len(stands), last)
	}
	var previous relay.Position
	var done, open int
	for i, it := range b.items {
		var m wire.Message
		_ = proto.Unmarshal(it.body, &m)
		switch it.end.Code {
		case relay.Done:
			done++
			if stands[it.at] != string(m.Payload) {
				t.Errorf("message %d, %q, answered %v: there stands %q", i, m.Payload, it.at, stands[it.at])
			}
			if it.chained {
				if !previous.Before(it.at) {
					t.Errorf("message %d at %v, after %v", i, it.at, previous)
				}
				previous = it.at
			}
		case relay.TooLarge:
			if len(m.Payload) <= 20 {
				t.Errorf("message %d, %q: %+v", i, m.Payload, it.end)
			}
		case relay.Unknown, relay.Busy, relay.Unavailable, relay.OutOfOrder:
			open++ // given up
		default:
			t.Errorf("message %d, %q: %+v", i, m.Payload, it.end)
		}
	}
	if len(stands) < done || len(stands) > done+open {
		t.Errorf("%d messages stand; %d were answered, %d are open", len(stands), done, open)
	}
	if open > len(b.items)/2 {
		t.Errorf("%d of %d were given up", open, len(b.items))
	}
}
