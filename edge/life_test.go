package edge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// brief returns a token that lasts for so long; the world's verifier allows no skew.
func (w *world) brief(subject string, lifetime time.Duration) string {
	w.t.Helper()
	s, err := w.signer.Sign(token.Claims{Issuer: testIssuer, Audience: testAudience, Subject: subject, Lifetime: lifetime,
		Capabilities: map[string][]string{"demo:*": {"publish", "subscribe"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func strict(c *edge.Config) {
	v, err := token.New(token.Config{Skew: -1, Issuers: []token.Issuer{{Name: testIssuer, Audience: testAudience, Secret: testSecret}}})
	if err != nil {
		panic(err)
	}
	c.Tokens = v
}

// A session ends with its token, and says why; one that refreshed goes on.
func TestTokenExpires(t *testing.T) {
	w := newWorld(t, strict)
	if _, err := w.connect(relay.WebTransport, w.brief("a", -time.Minute)); codeOf(err) != relay.TokenExpired {
		t.Errorf("an expired token: %v", err)
	}
	w.apiOfToken(w.brief("a", -time.Minute)).do("GET", "demo:x", "", "", "").problem(401, "token_expired", "expired at")
	// Times in tokens are whole seconds, so 2 s are more than one.
	ends, goesOn := w.mustConnect(relay.WebTransport, w.brief("a", 2*time.Second)), w.mustConnect(relay.WebSocket, w.brief("a", 2*time.Second))
	if _, err := goesOn.Refresh(t.Context(), w.brief("a", time.Hour)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ends.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the session outlives its token")
	}
	if codeOf(ends.Err()) != relay.TokenExpired {
		t.Errorf("it ended with %v", ends.Err())
	}
	if _, end := publish(t, goesOn, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Done {
		t.Errorf("the one that refreshed: %+v", end)
	}
}

func (w *world) apiOfToken(tok string) apiCall { return w.api(tok) }

// A session that dies without a word gives back all that it had.
func TestSessionGivesBack(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) {
		c.Limits = edge.Limits{Subject: edge.Scope{Sessions: 1, Subscriptions: 20}}
	})
	for round := range 5 {
		carrier := carriers[round%2]
		var err error
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			l, failed := w.connect(carrier, w.token("a", nil))
			if err = failed; err == nil {
				var readers []*relaytest.Reader
				for i := range 20 {
					r := relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: relay.Channel(fmt.Sprint("demo:", i))})
					r.Expect(relay.KindOK)
					readers = append(readers, r)
				}
				w.metric("meridian_edge_sessions", `carrier="`+string(carrier)+`"`, 1)
				l.Session().Close(relay.Cancelled, "killed")
				<-l.Done()
				for _, r := range readers {
					r.Close()
				}
				break
			}
			if codeOf(err) != relay.TooManySessions || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// Tokens that follow each other too fast are not verified.
func TestRefreshRate(t *testing.T) {
	w := newWorld(t, nil)
	l := w.mustConnect(relay.WebTransport, w.token("a", nil))
	var code relay.Code
	for range 20 {
		if _, err := l.Refresh(t.Context(), "garbage"); codeOf(err) != relay.Unauthorized {
			code = codeOf(err)
			break
		}
	}
	if code != relay.RequestRate {
		t.Errorf("twenty tokens at once: %v", code)
	}
	if _, end := publish(t, l, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Done {
		t.Errorf("the session: %+v", end)
	}
}

func TestConfigRefused(t *testing.T) {
	w := newWorld(t, nil) // for its parts
	for want, change := range map[string]func(*edge.Config){
		"no name":             func(c *edge.Config) { c.Name = "" },
		"Upstream and Tokens": func(c *edge.Config) { c.Tokens = nil },
		"no listener":         func(c *edge.Config) { c.PacketConn, c.Listener, c.Plain = nil, nil, nil },
		"no certificate":      func(c *edge.Config) { c.Certificates = nil },
		"write scheme://":     func(c *edge.Config) { c.Origins = []string{"app.example"} },
		"payload 2097152":     func(c *edge.Config) { c.Limits.Payload = 2 << 20 },
	} {
		c := edge.Config{Name: "x", Upstream: relaytest.NewFake(), Tokens: w.verifier, Certificates: w.certificates,
			Listener: listenTCP(t)}
		l := c.Listener
		change(&c)
		if _, err := edge.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q in it", err, want)
		}
		l.Close()
	}
}

// Run ends when it is told to, with sessions and requests under way.
func TestRunEnds(t *testing.T) {
	f := relaytest.NewFake()
	w := newWorld(t, func(c *edge.Config) { c.Upstream = f })
	l := w.mustConnect(relay.WebTransport, w.token("a", nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	profile := make(chan int)
	go func() {
		status, _ := w.fetchQuietly(ctx, "/debug/pprof/trace?seconds=600")
		profile <- status
	}()
	request := make(chan struct{})
	go func() {
		defer close(request)
		w.quietPublish(ctx)
	}()
	f.AwaitPublish(t, 0)
	begun := time.Now()
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	<-l.Done()
	cancel()
	<-profile
	<-request
}
