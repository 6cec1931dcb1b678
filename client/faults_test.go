package client_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/internal/wan"
	"github.com/meridian-relay/meridian/relay"
)

// through puts a path that can be cut between clients and the relay.
func (r *rig) through() *wan.Path {
	r.t.Helper()
	p, err := wan.Open(wan.Config{Server: netip.MustParseAddrPort(r.addr)})
	if err != nil {
		r.t.Fatal(err)
	}
	background(r.t, p.Run)
	return p
}

// publishing publishes numbers until the test ends.
func publishing(t *testing.T, c *client.Client, ch relay.Channel, every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 1; ctx.Err() == nil; n++ {
			_ = c.PublishAsync(ctx, ch, number(n), func(relay.Position, error) {})
			<-tick.C
		}
	}()
}

func TestWithoutUDPItIsWebSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	p := r.through()
	p.Cut(wan.UDP, true)
	begin := time.Now()
	c := r.dialAt("https://"+p.Addr().String(), nil)
	if s := c.State(); s.Carrier != relay.WebSocket || time.Since(begin) > 3*time.Second {
		t.Errorf("carrier %s after %v", s.Carrier, time.Since(begin))
	}
}

// TestUDPIsBlockedInMidFlow: within 10 s it goes on over WebSocket, nothing missing.
func TestUDPIsBlockedInMidFlow(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	p := r.through()
	ctx := testContext(t)
	publishing(t, r.dial(nil), "demo:udp", 10*time.Millisecond)
	c := r.dialAt("https://"+p.Addr().String(), nil)
	var cut time.Time
	n, after := 0, 0
	for e, err := range c.Subscribe(ctx, "demo:udp", client.SubscribeOptions{From: first}) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *client.Gap:
			t.Fatalf("gap %+v", e)
		case *client.Message:
			if n++; string(e.Payload) != string(number(n).Payload) {
				t.Fatalf("message %d is %q", n, e.Payload)
			}
		}
		if n == 50 && cut.IsZero() {
			if s := c.State(); s.Carrier != relay.WebTransport {
				t.Fatalf("carrier %s before the cut", s.Carrier)
			}
			p.Cut(wan.UDP, true)
			cut = time.Now()
		}
		if s := c.State(); !cut.IsZero() && s.Carrier == relay.WebSocket {
			if after++; after == 50 {
				break
			}
		}
	}
	took := time.Since(cut)
	if took > 10*time.Second {
		t.Errorf("went on after %v; at most 10 s", took)
	}
	t.Logf("went on over WebSocket within %v", took)
}

// TestGoAway moves a client while messages flow: it is connected all the time.
func TestGoAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ctx := testContext(t)
	c := r.dial(nil)
	publishing(t, c, "demo:away", 5*time.Millisecond)
	n, moves := 0, 0
	for e, err := range c.Subscribe(ctx, "demo:away", client.SubscribeOptions{From: first, Own: true}) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *client.Gap:
			t.Fatalf("gap %+v", e)
		case *client.State:
			if e.Phase != client.Connected {
				t.Errorf("state %+v: it is to be connected all the time", e)
			}
		case *client.Subscribed:
			if e.Resumed {
				moves++
			}
		case *client.Message:
			if n++; string(e.Payload) != string(number(n).Payload) {
				t.Fatalf("message %d is %q", n, e.Payload)
			}
			if n%100 == 50 && moves < 3 {
				for _, s := range r.servers() {
					s.GoAway(relay.GoingAway, 10*time.Second, nil)
				}
			}
		}
		if n > 400 {
			break
		}
	}
	if moves != 3 {
		t.Errorf("moved %d times; want 3", moves)
	}
	waitFor(t, "the old sessions close", func() bool { return len(r.servers()) == 1 })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// A token lasts for seconds here: a machine under load is late, and too late ends the session. When
// it is renewed is tested in virtual time, see TestRefresh.
func TestTokenIsRefreshedInMidSession(t *testing.T) {
	t.Parallel()
	var hellos, tokens atomic.Int64
	r := newRig(t, func(r *rig) {
		r.gate = func(string) (*relay.Grant, relay.End) {
			hellos.Add(1)
			return grant(3 * time.Second), relay.End{}
		}
	})
	c := r.dial(func(cfg *client.Config) {
		cfg.TokenSource = func(context.Context) (string, error) { tokens.Add(1); return "t", nil }
	})
	waitFor(t, "three tokens", func() bool { return hellos.Load() >= 3 })
	if n := r.accepted.Load(); n != 1 {
		t.Errorf("%d sessions; a refresh keeps the one", n)
	}
	if c.State().Phase != client.Connected || tokens.Load() < 3 {
		t.Errorf("state %+v, %d tokens", c.State(), tokens.Load())
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.gate = func(string) (*relay.Grant, relay.End) {
			return nil, relay.End{Code: relay.Unauthorized, Detail: "no such key"}
		}
	})
	asked := 0
	for _, cfg := range []client.Config{
		{Token: "bad"},
		{TokenSource: func(context.Context) (string, error) { asked++; return "bad", nil }},
	} {
		cfg.CertHashes = [][32]byte{r.hash}
		c, err := client.Dial(testContext(t), "https://"+r.addr, cfg)
		if !errors.Is(err, relay.End{Code: relay.Unauthorized}.Err()) || !strings.Contains(err.Error(), "no such key") {
			t.Errorf("%v, %v; want unauthorized", c, err)
		}
	}
	if asked != 2 {
		t.Errorf("the source was asked %d times; want 2", asked)
	}
}

func TestRevokedEndsEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ctx := testContext(t)
	c := r.dial(nil)
	if _, err := c.Publish(ctx, "demo:r", number(1)); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Subscribe(ctx, "demo:r", client.SubscribeOptions{From: first}) {
		if err != nil {
			if !errors.Is(err, relay.End{Code: relay.Revoked}.Err()) || !errors.Is(err, client.ErrClosed) {
				t.Errorf("%v; want revoked", err)
			}
			continue
		}
		if _, ok := e.(*client.Message); ok {
			for _, s := range r.servers() {
				s.Close(relay.Revoked, "by an operator")
			}
		}
	}
	<-c.Done()
	if _, err := c.Publish(ctx, "demo:r", number(2)); !errors.Is(err, relay.End{Code: relay.Revoked}.Err()) {
		t.Errorf("publish afterwards: %v; want revoked", err)
	}
	var last client.State
	for s := range c.States(ctx) {
		last = s
	}
	if last.Phase != client.Closed || !errors.Is(last.Reason, relay.End{Code: relay.Revoked}.Err()) {
		t.Errorf("state %+v", last)
	}
}

func TestRefusalsReachTheirCallers(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		r.admit = func(ch relay.Channel, bytes int) relay.End {
			if ch == "demo:no" && bytes > 0 {
				return relay.End{Code: relay.Forbidden}
			}
			return relay.End{}
		}
	})
	ctx := testContext(t)
	c := r.dial(nil)
	for _, test := range []struct {
		ch   relay.Channel
		m    client.Message
		want relay.Code
	}{
		{"demo:no", number(1), relay.Forbidden},
		{"nope:x", number(1), relay.UnknownNamespace},
		{"no-namespace", number(1), relay.BadChannel},
		{"demo:large", client.Message{Payload: make([]byte, 1<<20)}, relay.TooLarge},
		{"demo:id", client.Message{ID: "x"}, relay.BadRequest},
	} {
		_, err := c.Publish(ctx, test.ch, test.m)
		if !errors.Is(err, relay.End{Code: test.want}.Err()) || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("publish to %s: %v; want %v", test.ch, err, test.want)
		}
	}
	for ch, want := range map[relay.Channel]relay.Code{"nope:x": relay.UnknownNamespace, "x": relay.BadChannel} {
		for _, err := range c.Subscribe(ctx, ch, client.SubscribeOptions{}) {
			if !errors.Is(err, relay.End{Code: want}.Err()) {
				t.Errorf("subscribe to %s: %v; want %v", ch, err, want)
			}
		}
	}
	if at, err := c.Publish(ctx, "demo:yes", number(1)); err != nil || at.Seq != 1 {
		t.Errorf("the next publish: %v, %v", at, err)
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := client.Dial(ctx, "https://127.0.0.1:1", client.Config{Carriers: []relay.Carrier{relay.WebSocket}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v; want the deadline and the last attempt's reason", err)
	}
}

func TestUntrustedCertificateIsFinal(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, k := range []relay.Carrier{relay.WebTransport, relay.WebSocket} {
		_, err := client.Dial(testContext(t), "https://"+r.addr, client.Config{Carriers: []relay.Carrier{k}})
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v; want a refusal at once", k, err)
		}
	}
}

func TestCloseWaitsForPublishes(t *testing.T) {
	t.Parallel()
	var busy atomic.Bool
	busy.Store(true)
	r := newRig(t, func(r *rig) {
		r.admit = func(relay.Channel, int) relay.End {
			if busy.Load() {
				return relay.End{Code: relay.Busy, RetryAfter: 50 * time.Millisecond}
			}
			return relay.End{}
		}
	})
	c := r.dial(nil)
	results := make(chan error, 10)
	for n := range 10 {
		if err := c.PublishAsync(testContext(t), "demo:c", number(n), func(_ relay.Position, err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(200*time.Millisecond, func() { busy.Store(false) })
	if err := c.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	for range 10 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Publish(testContext(t), "demo:c", number(1)); !errors.Is(err, client.ErrClosed) {
		t.Errorf("publish after Close: %v", err)
	}

	busy.Store(true)
	c = r.dial(nil)
	if err := c.PublishAsync(testContext(t), "demo:c", number(1), func(_ relay.Position, err error) { results <- err }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close with something unanswered: %v", err)
	}
	if err := <-results; !errors.Is(err, client.ErrClosed) {
		t.Errorf("its caller was told %v", err)
	}
}
