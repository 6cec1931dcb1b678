package client

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func TestFullJitter(t *testing.T) {
	for _, test := range []struct {
		failures int
		jitter   float64
		want     time.Duration
	}{
		{0, 1, 0}, {1, 0, 0}, {1, 1, 100 * time.Millisecond}, {2, 1, 200 * time.Millisecond}, {3, 0.5, 200 * time.Millisecond},
		{6, 1, time.Second}, {100, 1, time.Second}, {1 << 30, 0.5, time.Second / 2},
	} {
		if got := fullJitter(100*time.Millisecond, time.Second, test.failures, test.jitter); got != test.want {
			t.Errorf("after %d failures, jitter %v: %v; want %v", test.failures, test.jitter, got, test.want)
		}
	}
}

func TestRetryDelay(t *testing.T) {
	if d := retryDelay(relay.End{Code: relay.Unknown}, 1, 0.99); d != 0 {
		t.Errorf("first unknown: %v; want at once", d)
	}
	if d := retryDelay(relay.End{Code: relay.Busy, RetryAfter: 2 * time.Second}, 1, 0); d != 2*time.Second {
		t.Errorf("busy with 2 s: %v", d)
	}
	for n := range 50 {
		if d := retryDelay(relay.End{Code: relay.Unavailable}, n, 0.99); d < time.Second/2 || d > 11*time.Second {
			t.Errorf("unavailable, %d in a row: %v", n, d)
		}
	}
}

// A fakeSession is one that race can tell from others.
type fakeSession struct {
	relay.Session
	closed chan relay.Code
}

func (s *fakeSession) Close(code relay.Code, _ string) { s.closed <- code }

func TestRace(t *testing.T) {
	fail := errors.New("refused")
	for _, test := range []struct {
		name           string
		a, b           time.Duration // until ready; below 0: until failed
		head           time.Duration
		winner         relay.Carrier
		after          time.Duration
		loser, started bool // the loser became ready; the second was started
	}{
		{"first within its head start", 400 * time.Millisecond, 10 * time.Millisecond, 500 * time.Millisecond, "a", 400 * time.Millisecond, false, false},
		{"first hangs", time.Hour, 100 * time.Millisecond, 500 * time.Millisecond, "b", 600 * time.Millisecond, false, true},
		{"first fails", -10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, "b", 110 * time.Millisecond, false, true},
		{"first wins late", 700 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond, "a", 700 * time.Millisecond, true, true},
		{"no head start", 700 * time.Millisecond, 300 * time.Millisecond, 0, "b", 300 * time.Millisecond, true, true},
		{"both fail", -100 * time.Millisecond, -100 * time.Millisecond, 500 * time.Millisecond, "", 200 * time.Millisecond, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := make(chan relay.Code, 1)
				var mu sync.Mutex
				started := map[relay.Carrier]*fakeSession{}
				dial := func(ctx context.Context, k relay.Carrier) (relay.Session, error) {
					s := &fakeSession{closed: closed}
					mu.Lock()
					started[k] = s
					mu.Unlock()
					wait := map[relay.Carrier]time.Duration{"a": test.a, "b": test.b}[k]
					if wait < 0 {
						time.Sleep(-wait)
						return nil, fail
					}
					if !test.loser {
						select {
						case <-ctx.Done():
							return nil, ctx.Err()
						case <-time.After(wait):
						}
					} else {
						time.Sleep(wait) // it does not notice that it lost
					}
					return s, nil
				}
				begin := time.Now()
				s, err := race(t.Context(), []relay.Carrier{"a", "b"}, test.head, dial)
				if took := time.Since(begin); took != test.after {
					t.Errorf("took %v; want %v", took, test.after)
				}
				if test.winner == "" {
					if !errors.Is(err, fail) || strings.Count(err.Error(), "refused") != 2 {
						t.Errorf("%v; want both failures", err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil || s != relay.Session(started[test.winner]) {
					t.Errorf("%v, %v; want %s", s, err, test.winner)
				}
				if _, ok := started["b"]; ok != test.started {
					t.Errorf("the second was started: %v", ok)
				}
				if test.loser {
					if code := <-closed; code != relay.Cancelled {
						t.Errorf("the loser was closed with %v", code)
					}
				}
			})
		})
	}
}

func TestHeadStart(t *testing.T) {
	if headStart(0) != 500*time.Millisecond || headStart(200*time.Millisecond) != 800*time.Millisecond {
		t.Error(headStart(0), headStart(200*time.Millisecond))
	}
}

func TestWinnerIsRememberedUntilTheNetworkChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := "wifi"
		w := winner{carriers: []relay.Carrier{"a", "b", "c"}, network: func() string { return network }}
		want := func(order string) {
			t.Helper()
			var got []string
			for _, k := range w.order() {
				got = append(got, string(k))
			}
			if strings.Join(got, "") != order {
				t.Errorf("order %v; want %s", got, order)
			}
		}
		want("abc")
		w.won("b")
		want("bac")
		time.Sleep(9 * time.Minute)
		w.won("b") // does not prolong it: after ten minutes the first is tried again
		time.Sleep(time.Minute)
		want("abc")
		w.won("c")
		want("cab")
		network = "mobile"
		want("abc")
	})
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, fail := 0, error(nil)
		tk := tokens{source: func(context.Context) (string, error) {
			calls++
			return "token" + string(rune('0'+calls)), fail
		}}
		want := func(token string) {
			t.Helper()
			if got, err := tk.get(t.Context()); got != token || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, token)
			}
		}
		want("token1")
		renewAt := tk.accepted(100 * time.Second)
		if until := time.Until(renewAt); until != 80*time.Second {
			t.Errorf("renewed after %v; want 80 s", until)
		}
		want("token1") // reconnecting does not ask again
		time.Sleep(81 * time.Second)
		want("token2")
		if renewAt = tk.accepted(time.Hour); time.Until(renewAt) != 59*time.Minute {
			t.Errorf("renewed after %v; want 59 min", time.Until(renewAt))
		}
		if !tk.reject() {
			t.Error("a token that the relay took before is refused: a fresh one may do")
		}
		want("token3")
		if !tk.reject() {
			t.Error("one fresh token was refused: another may do")
		}
		want("token4")
		if tk.reject() {
			t.Error("two fresh tokens in a row were refused: that is final")
		}
		fail = errors.New("no")
		if _, err := tk.get(t.Context()); !errors.Is(err, fail) {
			t.Errorf("%v; want the source's error", err)
		}
	})
}

func TestTokenSourceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := tokens{source: func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }}
		begin := time.Now()
		if _, err := tk.get(t.Context()); err == nil || time.Since(begin) != sourceTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func FuzzSubject(f *testing.F) {
	f.Add("a.eyJzdWIiOiJ0ZXN0ZXIifQ.c")
	f.Add("a.!.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if s, err := subject(token); (s == "") == (err == nil) {
			t.Errorf("%q: subject %q, error %v", token, s, err)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		url  string
		cfg  Config
		want string // in the error; empty: none
	}{
		{"https://h:1", Config{}, ""},
		{"http://h:1", Config{}, ""},
		{"h:1", Config{}, "write https://"},
		{"ftp://h", Config{}, "write https://"},
		{"https://", Config{}, "write https://"},
		{"https://h?token=x", Config{}, "Config.Token"},
		{"https://u:secret@h", Config{}, "Config.Token"},
		{"http://h:1", Config{Carriers: []relay.Carrier{relay.WebTransport}}, "only WebSocket"},
		{"https://h:1", Config{Carriers: []relay.Carrier{relay.QUIC}}, `"quic"`},
		{"https://h:1", Config{BackoffMost: -1}, "BackoffMost"},
		{"https://h:1", Config{Agent: strings.Repeat("x", 200)}, "128"},
	} {
		cfg, _, err := test.cfg.check(test.url)
		switch {
		case test.want == "" && (err != nil || cfg.Window == 0 || cfg.Lanes == 0 || cfg.Log == nil):
			t.Errorf("%s: %v, %+v", test.url, err, cfg)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v; want %q", test.url, err, test.want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error tells a secret: %v", test.url, err)
		}
	}
	cfg, _, err := Config{}.check("http://h:1")
	if err != nil || !slices.Equal(cfg.Carriers, []relay.Carrier{relay.WebSocket}) {
		t.Errorf("plain HTTP: %v, %v", cfg.Carriers, err)
	}
}

func TestURLs(t *testing.T) {
	for _, test := range []struct {
		base string
		k    relay.Carrier
		want string
	}{
		{"https://h:1", relay.WebTransport, "https://h:1/v1/session"},
		{"https://h:1", relay.WebSocket, "wss://h:1/v1/session"},
		{"http://h:1", relay.WebSocket, "ws://h:1/v1/session"},
	} {
		if got := sessionURL(test.base, test.k); got != test.want {
			t.Errorf("%s over %s: %s; want %s", test.base, test.k, got, test.want)
		}
	}
	got := usable("https://h:1", []string{"https://other:2/path", "http://plain:3", "://", "https://u:p@x"})
	if !slices.Equal(got, []string{"https://other:2"}) {
		t.Errorf("alternatives %v", got)
	}
}

// The same message is the same bytes, or repeating its ID would be a conflict.
func TestMessageEncodesAlike(t *testing.T) {
	m := Message{Headers: map[string]string{}, ID: "x"}
	for c := 'a'; c <= 'h'; c++ {
		m.Headers[string(c)] = "value"
	}
	first, err := m.encode(100)
	for range 50 {
		again, err2 := m.encode(100)
		if err != nil || err2 != nil || !bytes.Equal(first, again) {
			t.Fatalf("%x, then %x; %v %v", first, again, err, err2)
		}
	}
}

func TestMessageLimits(t *testing.T) {
	for _, test := range []struct {
		m    Message
		want relay.Code
	}{
		{Message{Payload: make([]byte, 11)}, relay.TooLarge},
		{Message{Key: strings.Repeat("k", 257)}, relay.TooLarge},
		{Message{Headers: map[string]string{"a": strings.Repeat("v", 4<<10)}}, relay.TooLarge},
		{Message{Key: "\xff"}, relay.BadRequest},
		{Message{Headers: map[string]string{"\xff": ""}}, relay.BadRequest},
		{Message{ContentType: "\xff"}, relay.BadRequest},
		{Message{Payload: make([]byte, 10), Key: "k"}, relay.Done},
	} {
		_, err := test.m.encode(10)
		if end, _ := codeOf(err); end.Code != test.want {
			t.Errorf("%+v: %v; want %v", test.m, err, test.want)
		}
	}
}
