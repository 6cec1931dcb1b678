package client

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// follow starts a subscription whose consumer takes everything.
func follow(t *testing.T, c *Client, ch relay.Channel, o SubscribeOptions) *[]Event {
	var events []Event
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for e, err := range c.Subscribe(ctx, ch, o) {
			if err == nil {
				events = append(events, e)
			}
		}
	}()
	synctest.Wait()
	return &events
}

// pass lets time pass, and waits until everything that is due then is done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func hang(ctx context.Context) (time.Duration, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// TestDeadPathIsReplacedWithin8s: a session that does not answer is replaced, by one that was
// dialled over all carriers at once, before the old one is given up.
func TestDeadPathIsReplacedWithin8s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			if n == 0 {
				l.ping = hang
			} else {
				time.Sleep(500 * time.Millisecond)
			}
			return nil
		}}
		c := f.client(Config{})
		follow(t, c, "demo:x", SubscribeOptions{})
		begin := time.Now()
		pass(8 * time.Second)
		second := f.link(1)
		if !second.request.hurry {
			t.Error("the successor waited a head start for the carrier that is dead")
		}
		if took := second.at.Sub(begin); took > 7*time.Second {
			t.Errorf("dialled after %v", took)
		}
		if conn := c.current(); conn == nil || conn.session != session(second) {
			t.Error("the successor is not in use after 8 s")
		}
	})
}

// TestLatePongKeepsTheSession: the successor that was dialled in doubt is given up.
func TestLatePongKeepsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			l.ping = func(context.Context) (time.Duration, error) { time.Sleep(2 * time.Second); return 2 * time.Second, nil }
			if n > 0 {
				time.Sleep(5 * time.Second)
			}
			return nil
		}}
		c := f.client(Config{})
		follow(t, c, "demo:x", SubscribeOptions{})
		pass(time.Minute)
		if conn := c.current(); conn == nil || conn.session != session(f.link(0)) {
			t.Error("the session was replaced though every ping was answered")
		}
	})
}

// TestSlowPathIsNotDoubted: once a round trip of 2 s is known, a pong after 2 s is no reason to
// dial.
func TestSlowPathIsNotDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			l.ping = func(context.Context) (time.Duration, error) { time.Sleep(2 * time.Second); return 2 * time.Second, nil }
			time.Sleep(4 * time.Second)
			return nil
		}}
		c := f.client(Config{})
		follow(t, c, "demo:x", SubscribeOptions{})
		pass(9 * time.Second)
		n := f.count()
		pass(time.Minute)
		if f.count() > n {
			t.Errorf("%d dials after the round trip was known", f.count()-n)
		}
	})
}

func TestNothingOpenNoPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int64
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			l.ping = func(context.Context) (time.Duration, error) { pings.Add(1); return 0, nil }
			return nil
		}}
		c := f.client(Config{})
		pass(time.Minute)
		if pings.Load() > 0 {
			t.Errorf("%d pings while nothing was open", pings.Load())
		}
		follow(t, c, "demo:x", SubscribeOptions{})
		pass(time.Minute)
		if n := pings.Load(); n < 11 || n > 12 {
			t.Errorf("%d pings in a minute; want one every 5 s", n)
		}
	})
}

func TestStatesAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("no route")
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			if n > 0 && n < 20 {
				return down
			}
			return nil
		}}
		c := f.client(Config{BackoffLeast: time.Second, BackoffMost: 20 * time.Second})
		var phases []Phase
		done := make(chan struct{})
		go func() {
			defer close(done)
			for s := range c.States(context.Background()) {
				if len(phases) == 0 || phases[len(phases)-1] != s.Phase {
					phases = append(phases, s.Phase)
				}
				if s.Phase == Suspended && !errors.Is(s.Reason, down) {
					t.Errorf("suspended for %v", s.Reason)
				}
			}
		}()
		synctest.Wait()
		f.link(0).end(errors.New("lost"))
		pass(20 * time.Minute)
		if f.count() != 21 {
			t.Fatalf("%d dials; want 21", f.count())
		}
		var waited time.Duration
		for i := 2; i <= 20; i++ {
			wait := f.times[i].Sub(f.times[i-1])
			if most := min(time.Second<<i, 20*time.Second); wait > most {
				t.Errorf("attempt %d came %v after the one before; at most %v", i, wait, most)
			}
			waited += wait
		}
		if waited < 60*time.Second || waited > 300*time.Second {
			t.Errorf("19 attempts in %v; half the bounds would be 165 s", waited)
		}
		_ = c.Close(context.Background())
		<-done
		if want := []Phase{Connected, Reconnecting, Suspended, Connected, Closed}; !slices.Equal(phases, want) {
			t.Errorf("phases %v; want %v", phases, want)
		}
	})
}

// TestRetryAfterIsHonoured: the relay says when to come again.
func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			if n == 0 {
				return relay.End{Code: relay.TooManySessions, RetryAfter: 20 * time.Second}.Err()
			}
			return nil
		}}
		begin := time.Now()
		f.client(Config{BackoffMost: time.Second})
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("connected after %v; want 20 s", took)
		}
	})
}

func TestFinalRefusal(t *testing.T) {
	for _, code := range []relay.Code{relay.Forbidden, relay.OriginRefused, relay.Revoked, relay.Unsupported} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeNet{t: t, prepare: func(int, *fakeLink) error { return relay.End{Code: code}.Err() }}
			if _, err := Dial(t.Context(), "https://h", Config{dial: f.dial}); !errors.Is(err, relay.End{Code: code}.Err()) {
				t.Errorf("%v; want %v", err, code)
			}
			if f.count() != 1 {
				t.Errorf("%v: %d attempts", code, f.count())
			}
		})
	}
}

// TestGoAwayToAlternatives: another edge is tried first, and the old session serves meanwhile.
func TestGoAwayToAlternatives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			if n == 1 {
				return errors.New("that one is down")
			}
			return nil
		}}
		c := f.client(Config{})
		follow(t, c, "demo:x", SubscribeOptions{})
		old := f.link(0)
		f.dials[0].onGoAway(link.GoAway{Reason: relay.GoingAway, Alternatives: []string{"https://b", "http://no-tls", "https://c"}})
		pass(time.Second)
		if urls := []string{f.dials[1].url, f.dials[2].url}; !slices.Equal(urls, []string{"https://b", "https://c"}) {
			t.Errorf("dialled %v; want b, then c", urls)
		}
		if c.current().session != session(f.link(1)) || c.State().Phase != Connected {
			t.Error("the new session is not in use")
		}
		if !old.closedAt().IsZero() {
			t.Error("the old session was closed before the subscription had its successor")
		}
		ok := okFrame(at(1, 0), at(1, 0))
		f.link(1).sub(0).put(ok)
		synctest.Wait()
		if old.closedAt().IsZero() || old.code != relay.Done {
			t.Errorf("the old session was not closed: %v", old.code)
		}
	})
}

// TestGoAwayFromEverySession: a relay that sends everybody away at once is not dialled without end.
func TestGoAwayFromEverySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(_ int, l *fakeLink) error {
			l.request.onGoAway(link.GoAway{Reason: relay.GoingAway, Deadline: time.Minute})
			return nil
		}}
		f.client(Config{})
		pass(10 * time.Second)
		if n := len(f.dials); n < 3 || n > 40 {
			t.Errorf("%d sessions in 10 s", n)
		}
	})
}

// TestGoAwayRightAfterWelcome comes before the client has the session in use.
func TestGoAwayRightAfterWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			if n == 0 {
				l.request.onGoAway(link.GoAway{Reason: relay.GoingAway})
			}
			return nil
		}}
		c := f.client(Config{})
		pass(time.Second)
		if f.count() != 2 || c.current().session != session(f.link(1)) {
			t.Errorf("%d dials; want a second session", f.count())
		}
	})
}

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refreshed []time.Duration
		begin, sourceDown := time.Now(), new(atomic.Bool)
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			l.welcome.TokenExpiresMs = 600_000
			l.refresh = func(string) (time.Duration, error) {
				refreshed = append(refreshed, time.Since(begin))
				return 100 * time.Second, nil
			}
			return nil
		}}
		c := f.client(Config{TokenSource: func(context.Context) (string, error) {
			if sourceDown.Load() {
				return "", errors.New("down")
			}
			return "t", nil
		}})
		pass(10 * time.Minute)
		if len(refreshed) != 1 || refreshed[0] != 9*time.Minute {
			t.Fatalf("refreshed after %v; want a minute before the end", refreshed)
		}
		sourceDown.Store(true)
		pass(30 * time.Second)
		sourceDown.Store(false)
		pass(time.Minute)
		if len(refreshed) < 2 || refreshed[1] < 10*time.Minute+30*time.Second || refreshed[1] > 11*time.Minute+10*time.Second {
			t.Errorf("refreshed after %v; want again when the source was back", refreshed)
		}
		if f.count() != 1 || c.State().Phase != Connected {
			t.Errorf("%d sessions", f.count())
		}
		// The relay ends the session with token_expired: a new token, a new session.
		f.link(0).end(relay.End{Code: relay.TokenExpired}.Err())
		pass(time.Second)
		if f.count() != 2 || c.State().Phase != Connected {
			t.Errorf("%d sessions, %v", f.count(), c.State())
		}
	})
}

// TestExpiryDuringARefresh: a session that ends with its token while the next one is under way
// is no refusal of that one.
func TestExpiryDuringARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			l.welcome.TokenExpiresMs = 100_000
			expired := relay.End{Code: relay.TokenExpired}.Err()
			l.refresh = func(string) (time.Duration, error) {
				// As a link does: the call learns it first.
				l.mu.Lock()
				l.err = expired
				l.mu.Unlock()
				time.AfterFunc(time.Millisecond, func() { close(l.done) })
				return 0, errors.Join(errors.New("the link has ended"), expired)
			}
			return nil
		}}
		c := f.client(Config{TokenSource: func(context.Context) (string, error) { return "t", nil }})
		pass(10 * time.Minute)
		if f.count() < 5 || c.State().Phase != Connected {
			t.Errorf("%d sessions, state %+v; want one after the other", f.count(), c.State())
		}
	})
}
