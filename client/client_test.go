package client_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

var first = relay.Start{Kind: relay.StartFirst}

// collect reads count messages and checks that their payloads are 1, 2, 3…
func collect(ctx context.Context, c *client.Client, ch relay.Channel, o client.SubscribeOptions, count int) error {
	n := 0
	for e, err := range c.Subscribe(ctx, ch, o) {
		if err != nil {
			return fmt.Errorf("after %d of %d: %w", n, count, err)
		}
		switch e := e.(type) {
		case *client.Gap:
			return fmt.Errorf("after %d: gap %+v", n, e)
		case *client.Message:
			n++
			if got := string(e.Payload); got != strconv.Itoa(n) {
				return fmt.Errorf("message %d at %v is %q", n, e.Position, got)
			}
			if n == count {
				return nil
			}
		}
	}
	return fmt.Errorf("ended after %d of %d", n, count)
}

func number(n int) client.Message {
	return client.Message{Payload: strconv.AppendInt(nil, int64(n), 10)}
}

func TestPublishAndSubscribe(t *testing.T) {
	r := newRig(t, nil)
	for _, carrier := range []relay.Carrier{relay.WebTransport, relay.WebSocket} {
		t.Run(string(carrier), func(t *testing.T) {
			ctx := testContext(t)
			ch := relay.Channel("demo:" + string(carrier))
			c := r.dial(func(cfg *client.Config) { cfg.Carriers = []relay.Carrier{carrier} })
			if s := c.State(); s.Phase != client.Connected || s.Carrier != carrier || s.Edge != "edge-1" || s.Region != "here" {
				t.Errorf("state %+v", s)
			}
			sent := client.Message{
				Payload: []byte("hello"), Key: "k", ContentType: "text/plain", Headers: map[string]string{"a": "b"},
			}
			at, err := c.Publish(ctx, ch, sent)
			if err != nil {
				t.Fatal(err)
			}
			var subscribed bool
			for e, err := range c.Subscribe(ctx, ch, client.SubscribeOptions{From: first, Own: true}) {
				if err != nil {
					t.Fatal(err)
				}
				if s, ok := e.(*client.Subscribed); ok {
					subscribed = s.Head == at && !s.Resumed
					continue
				}
				m, ok := e.(*client.Message)
				if !ok {
					t.Fatalf("event %#v", e)
				}
				if !subscribed {
					t.Error("no Subscribed with the head before the first message")
				}
				if string(m.Payload) != "hello" || m.Key != "k" || m.ContentType != "text/plain" || m.Headers["a"] != "b" ||
					m.Position != at || m.Channel != ch || m.Publisher != "tester" || time.Since(m.Time) > time.Minute {
					t.Errorf("message %+v, published at %v", m, at)
				}
				break
			}
		})
	}
}

// TestNumbersSurviveKilledSessions publishes 10,000 numbers while every session is killed again
// and again: two subscribers get each once, in order.
func TestNumbersSurviveKilledSessions(t *testing.T) {
	t.Parallel()
	const count = 10_000
	r := newRig(t, nil)
	ctx := testContext(t)
	p, s1, s2 := r.dial(nil), r.dial(nil), r.dial(func(cfg *client.Config) { cfg.Window = 4 << 10 })
	results := make(chan error, 3)
	go func() { results <- collect(ctx, s1, "demo:n", client.SubscribeOptions{From: first, Own: true}, count) }()
	go func() { results <- collect(ctx, s2, "demo:n", client.SubscribeOptions{From: first}, count) }()
	go func() {
		failed := make(chan error, 1)
		for n := 1; n <= count; n++ {
			err := p.PublishAsync(ctx, "demo:n", number(n), func(_ relay.Position, err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
			if err != nil {
				results <- err
				return
			}
			if n%10 == 0 {
				time.Sleep(time.Millisecond) // so that there is something to interrupt
			}
		}
		if err := p.Close(ctx); err != nil {
			results <- err
			return
		}
		select {
		case err := <-failed:
			results <- err
		default:
			results <- nil
		}
	}()
	rounds, kills, tick := 0, 0, time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for range 3 {
		for waiting := true; waiting; {
			select {
			case err := <-results:
				if err != nil {
					t.Fatal(err)
				}
				waiting = false
			case <-tick.C:
				if rounds++; rounds <= 30 {
					kills += r.kill()
				}
			}
		}
	}
	if kills < 10 {
		t.Errorf("only %d sessions were killed", kills)
	}
	t.Logf("%d sessions killed", kills)
}

func TestHistoryEndsAtTheHead(t *testing.T) {
	r := newRig(t, nil)
	ctx := testContext(t)
	c := r.dial(nil)
	for n := 1; n <= 20; n++ {
		if _, err := c.Publish(ctx, "demo:h", number(n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		from  relay.Start
		limit uint64
		want  string
	}{
		{relay.Start{}, 0, "1..20"},
		{relay.Start{}, 3, "1..3"},
		{relay.Start{Kind: relay.StartLast, Count: 5}, 0, "16..20"},
		{relay.Start{Kind: relay.StartLast, Count: 5}, 2, "16..17"},
	} {
		var got []string
		for m, err := range c.History(ctx, "demo:h", test.from, test.limit) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Payload))
		}
		if len(got) == 0 || got[0]+".."+got[len(got)-1] != test.want {
			t.Errorf("from %+v limit %d: %v; want %s", test.from, test.limit, got, test.want)
		}
	}
	for range c.History(ctx, "demo:empty", relay.Start{}, 0) {
		t.Error("an empty channel has history")
	}
}

func TestSameIDIsOneMessage(t *testing.T) {
	r := newRig(t, nil)
	ctx := testContext(t)
	c := r.dial(func(cfg *client.Config) { cfg.Token = "e30." + "eyJzdWIiOiJ0ZXN0ZXIifQ" + ".x" })
	m := client.Message{ID: "order-7", Payload: []byte("x")}
	a, err := c.Publish(ctx, "demo:id", m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Publish(ctx, "demo:id", m)
	if err != nil || a != b {
		t.Errorf("the same id again: %v, %v; want %v", b, err, a)
	}
	m.Payload = []byte("y")
	if _, err := c.Publish(ctx, "demo:id", m); !errors.Is(err, relay.End{Code: relay.Conflict}.Err()) {
		t.Errorf("the same id with another payload: %v; want conflict", err)
	}
	if other, err := c.Publish(ctx, "demo:id", client.Message{ID: "order-8", Payload: []byte("y")}); err != nil || other == a {
		t.Errorf("another id: %v, %v", other, err)
	}
}
