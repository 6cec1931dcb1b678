package client

import (
	"context"
	"encoding/base64"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// held is a session that answers publishes when a test says so.
type held struct {
	answers []func(relay.Position, relay.End)
	sent    []relay.Publication
	full    atomic.Bool
}

func (h *held) net(t *testing.T) *fakeNet {
	return &fakeNet{t: t, prepare: func(_ int, l *fakeLink) error {
		l.publish = func(p relay.Publication, answer func(relay.Position, relay.End)) error {
			if h.full.Load() {
				return relay.ErrBusy
			}
			h.sent, h.answers = append(h.sent, p), append(h.answers, answer)
			return nil
		}
		return nil
	}}
}

// TestPublishingWaitsForRoom: what is unanswered is bounded in bytes.
func TestPublishingWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{}
		c := h.net(t).client(Config{Unanswered: 10 * (letterCost + 100)})
		m := Message{Payload: make([]byte, 98)} // 100 with its tag and length
		done := func(relay.Position, error) {}
		for range 10 {
			if err := c.PublishAsync(t.Context(), "demo:x", m, done); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.PublishAsync(ctx, "demo:x", m, done); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the eleventh: %v; want to wait until the context ends", err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- c.PublishAsync(t.Context(), "demo:x", m, done) }()
		synctest.Wait()
		h.answers[0](at(1, 1), relay.End{})
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(h.sent) != 11 {
			t.Errorf("%d were sent; want 11", len(h.sent))
		}
	})
}

// TestFullSessionIsTriedAgain: ErrBusy from the session costs a wait, and changes no order.
func TestFullSessionIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{}
		h.full.Store(true)
		c := h.net(t).client(Config{})
		for range 3 {
			_ = c.PublishAsync(t.Context(), "demo:x", Message{}, func(relay.Position, error) {})
		}
		synctest.Wait()
		h.full.Store(false)
		pass(time.Second)
		if len(h.sent) != 3 || h.sent[0].N != 1 || h.sent[2].N != 3 {
			t.Errorf("sent %+v; want 1, 2, 3", h.sent)
		}
	})
}

// TestPublishGivenUp says whether the message can still take effect.
func TestPublishGivenUp(t *testing.T) {
	for _, sent := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := &held{}
			h.full.Store(!sent)
			c := h.net(t).client(Config{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Publish(ctx, "demo:x", Message{})
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknownOutcome) != sent {
				t.Errorf("sent %v: %v", sent, err)
			}
			synctest.Wait()
			h.full.Store(false)
			pass(time.Minute)
			if sent {
				h.answers[0](relay.Position{}, relay.End{Code: relay.Unknown})
				pass(time.Minute)
			}
			switch n := len(h.sent); {
			case sent && (n != 2 || !h.sent[1].Void || h.sent[1].N != 1):
				t.Errorf("sent %+v; want the number again, as void", h.sent)
			case !sent && n != 0:
				t.Errorf("sent %+v; it was given up before", h.sent)
			}
		})
	}
}

// TestAnotherSubjectTakesNewProducers: the home would apply again what it did for the last one.
func TestAnotherSubjectTakesNewProducers(t *testing.T) {
	token := func(claims string) string {
		return "x." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
	}
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h, net := &held{}, (*fakeNet)(nil)
			net = h.net(t)
			who := []string{`{"sub":"alice"}`, `{"sub":"bob"}`}
			if same {
				who[1] = `{"sub":"alice","exp":2}`
			}
			asked := 0
			c := net.client(Config{TokenSource: func(context.Context) (string, error) {
				asked++
				return token(who[min(asked, 2)-1]), nil
			}})
			var first error
			_ = c.PublishAsync(t.Context(), "demo:x", Message{}, func(_ relay.Position, err error) { first = err })
			_ = c.PublishAsync(t.Context(), "demo:rests", Message{}, func(relay.Position, error) {})
			synctest.Wait()
			h.answers[1](at(1, 1), relay.End{})
			synctest.Wait()
			net.link(0).end(&relay.CloseError{Code: relay.TokenExpired})
			pass(time.Minute)
			for _, ch := range []relay.Channel{"demo:x", "demo:rests"} {
				_ = c.PublishAsync(t.Context(), ch, Message{}, func(relay.Position, error) {})
			}
			synctest.Wait()
			if errors.Is(first, ErrUnknownOutcome) == same {
				t.Errorf("same %v: what was in flight: %v", same, first)
			}
			for _, p := range h.sent[2:] {
				if known := p.Producer == h.sent[0].Producer || p.Producer == h.sent[1].Producer; known != same {
					t.Errorf("same %v: number %d of %s goes under a known producer: %v", same, p.N, p.Channel, known)
				}
			}
			if n := len(h.sent); n < 4 {
				t.Errorf("%d were sent", n)
			}
		})
	}
}

// TestUnusedChannelsAreForgotten: the client's memory follows the channels in use.
func TestUnusedChannelsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{}
		c := h.net(t).client(Config{})
		for _, ch := range []relay.Channel{"demo:a", "demo:b"} {
			_ = c.PublishAsync(t.Context(), ch, Message{}, func(relay.Position, error) {})
		}
		synctest.Wait()
		h.answers[0](at(1, 1), relay.End{})
		pass(restAfter + 2*sweepEvery)
		c.courier.mu.Lock()
		defer c.courier.mu.Unlock()
		if n := len(c.courier.boxes); n != 1 {
			t.Errorf("%d channels are remembered; want the one with an unanswered publish", n)
		}
	})
}
