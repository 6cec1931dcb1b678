package edge_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

var carriers = []relay.Carrier{relay.WebTransport, relay.WebSocket}

func body(payload string) []byte {
	b, _ := (&messageBody{payload}).MarshalBinary()
	return b
}

// codeOf returns the code with which a connection attempt or a session ended.
func codeOf(err error) relay.Code {
	if e, ok := errors.AsType[*relay.Error](err); ok {
		return e.End.Code
	}
	if e, ok := errors.AsType[*relay.CloseError](err); ok {
		return e.Code
	}
	return relay.Done
}

// A publisher's message reaches a subscriber on either carrier, stamped with the subject.
func TestPublishReachesSubscribers(t *testing.T) {
	w := newWorld(t, nil)
	var readers []*relaytest.Reader
	for _, carrier := range carriers {
		l := w.mustConnect(carrier, w.token("reader", nil))
		if wl := l.Welcome(); wl.Edge != "edge-1" || wl.Region != "eu-west" || len(wl.Session) < 16 ||
			wl.Limits.Payload != 64<<10 || wl.Limits.Subscriptions != 1000 || wl.Limits.Streams != 15 || wl.TokenExpiresMs == 0 {
			t.Errorf("Welcome %v", wl)
		}
		r := relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: "demo:a"})
		r.Expect(relay.KindOK)
		readers = append(readers, r)
	}
	writer := w.mustConnect(relay.WebTransport, w.token("writer", nil))
	at, end := publish(t, writer, relay.Publication{Channel: "demo:a", Body: body("hello")})
	if end.Code != relay.Done {
		t.Fatal(end.Err())
	}
	for _, r := range readers {
		f := r.Expect(relay.KindMessage)
		if f.At != at || !strings.Contains(string(f.Body), "writer") {
			t.Errorf("message at %v: %q; published at %v", f.At, f.Body, at)
		}
	}
}

func TestHelloRefused(t *testing.T) {
	w := newWorld(t, nil)
	good := w.token("a", nil)
	for name, c := range map[string]struct {
		token string
		want  relay.Code
	}{
		"missing": {"", relay.Unauthorized},
		"garbage": {"garbage", relay.Unauthorized},
		"forged":  {good[:len(good)-6] + "AAAAAA", relay.Unauthorized},
	} {
		for _, carrier := range carriers {
			_, err := w.connect(carrier, c.token)
			if codeOf(err) != c.want {
				t.Errorf("%s over %s: %v; want %v", name, carrier, err, c.want)
			}
		}
	}
	w.metric("meridian_edge_tokens_refused_total", `code="unauthorized"`, 6)
}

// What the token does not allow is refused, and the session goes on.
func TestForbidden(t *testing.T) {
	w := newWorld(t, nil)
	l := w.mustConnect(relay.WebTransport, w.token("a", map[string][]string{"demo:mine*": {"subscribe"}}))
	if _, end := publish(t, l, relay.Publication{Channel: "demo:mine", Body: body("x")}); end.Code != relay.Forbidden {
		t.Errorf("publish: %+v", end)
	}
	for _, c := range []struct {
		req  relay.SubscribeRequest
		want relay.Code
	}{
		{relay.SubscribeRequest{Channel: "demo:other"}, relay.Forbidden},
		{relay.SubscribeRequest{Channel: "demo:mine", From: relay.Start{Kind: relay.StartFirst}}, relay.Forbidden},
		{relay.SubscribeRequest{Channel: "demo:mine", Limit: 1}, relay.Forbidden},
		{relay.SubscribeRequest{Channel: "demo", From: relay.Start{}}, relay.BadChannel},
		{relay.SubscribeRequest{Channel: "demo:mine-2"}, relay.Done},
	} {
		f := relaytest.Subscribe(t, l, c.req).Frame()
		if got := endCode(f); got != c.want {
			t.Errorf("subscribe %+v: %v; want %v", c.req, got, c.want)
		}
	}
}

func endCode(f relay.Frame) relay.Code {
	if f.Kind == relay.KindEnd {
		return f.End.Code
	}
	return relay.Done
}

// A channel's name is checked whoever sends it: a link sends any.
func TestBadChannels(t *testing.T) {
	w := newWorld(t, nil)
	l := w.mustConnect(relay.WebTransport, w.token("a", map[string][]string{"*": {"publish", "subscribe"}}))
	for _, name := range []string{"", "demo", "demo:", ":x", "Demo:x", "1demo:x", "demo:" + strings.Repeat("x", 193),
		strings.Repeat("d", 33) + ":x", "demo:a\x00b", "demo:\u0085"} {
		if _, end := publish(t, l, relay.Publication{Channel: relay.Channel(name), Body: body("x")}); end.Code != relay.BadChannel {
			t.Errorf("publish to %q: %+v", name, end)
		}
		if got := endCode(relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: relay.Channel(name)}).Frame()); got != relay.BadChannel {
			t.Errorf("subscribe to %q: %v", name, got)
		}
	}
	if _, end := publish(t, l, relay.Publication{Channel: "mars:x", Body: body("x")}); end.Code != relay.UnknownNamespace || !strings.Contains(end.Detail, "mars") {
		t.Errorf("an unknown namespace: %+v", end)
	}
}

// A refresh changes what a session may do; a token that is not right changes nothing.
func TestRefresh(t *testing.T) {
	w := newWorld(t, nil)
	only := func(action string) map[string][]string { return map[string][]string{"demo:*": {action}} }
	l := w.mustConnect(relay.WebTransport, w.token("a", only("subscribe")))
	refresh := func(token string) error {
		_, err := l.Refresh(t.Context(), token)
		return err
	}
	if _, end := publish(t, l, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Forbidden {
		t.Errorf("before: %+v", end)
	}
	if err := refresh("garbage"); codeOf(err) != relay.Unauthorized {
		t.Errorf("garbage: %v", err)
	}
	if err := refresh(w.token("a", only("publish"))); err != nil {
		t.Fatal(err)
	}
	if _, end := publish(t, l, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Done {
		t.Errorf("after: %+v", end)
	}
	if err := refresh(w.token("b", only("publish"))); codeOf(err) != relay.Unauthorized {
		t.Errorf("another subject's token: %v", err)
	}
	<-l.Done()
}

// Past a limit there is its code, with a time to wait; others go on.
func TestLimits(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) {
		c.Limits = edge.Limits{
			Payload: 100,
			Session: edge.Scope{Subscriptions: 3, Publishes: 4},
			Subject: edge.Scope{Sessions: 2, Subscriptions: 4},
			Address: edge.Scope{Sessions: 5, Bytes: 1 << 30},
		}
	})
	one, two := w.mustConnect(relay.WebTransport, w.token("a", nil)), w.mustConnect(relay.WebSocket, w.token("a", nil))
	if _, err := w.connect(relay.WebTransport, w.token("a", nil)); codeOf(err) != relay.TooManySessions {
		t.Errorf("a subject's third session: %v", err)
	}
	subscribe := func(l *link.Link, i int) relay.Frame {
		return relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: relay.Channel(fmt.Sprint("demo:", i))}).Frame()
	}
	for i, want := range []relay.Code{relay.Done, relay.Done, relay.Done, relay.TooManySubscriptions} {
		if f := subscribe(one, i); endCode(f) != want || want != relay.Done && (f.End.RetryAfter == 0 || !strings.Contains(f.End.Detail, "3 subscriptions")) {
			t.Errorf("subscription %d of a session: %v %+v", i, endCode(f), f.End)
		}
	}
	for i, want := range []relay.Code{relay.Done, relay.TooManySubscriptions} {
		if f := subscribe(two, i); endCode(f) != want {
			t.Errorf("subscription %d of another session: %v %+v", 3+i, endCode(f), f.End)
		}
	}
	var limited relay.End
	for range 10 {
		if _, end := publish(t, one, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Done {
			limited = end
		}
	}
	if limited.Code != relay.PublishRate || limited.RetryAfter <= 0 || limited.RetryAfter > time.Second {
		t.Errorf("ten publishes at 4/s: %+v", limited)
	}
	other := w.mustConnect(relay.WebTransport, w.token("b", nil))
	if _, end := publish(t, other, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Done {
		t.Errorf("another subject's publish: %+v", end)
	}
	if _, end := publish(t, other, relay.Publication{Channel: "demo:x", Body: body(strings.Repeat("x", 101))}); end.Code != relay.TooLarge {
		t.Errorf("a payload too large: %+v", end)
	}
	for _, c := range []string{"c", "d"} {
		w.mustConnect(relay.WebTransport, w.token(c, nil))
	}
	if _, err := w.connect(relay.WebTransport, w.token("e", nil)); codeOf(err) != relay.TooManySessions {
		t.Errorf("an address's sixth session: %v", err)
	}
	w.metric("meridian_edge_limited_total", `code="too_many_sessions"`, 2)

	// A session that ends gives its place back.
	one.Close(relay.Done, "")
	<-one.Done()
	deadline := time.Now().Add(10 * time.Second)
	for {
		l, err := w.connect(relay.WebTransport, w.token("a", nil))
		if err == nil {
			l.Close(relay.Done, "")
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a session has ended: %v", err)
		}
	}
}

// Reload changes limits of those who are there.
func TestReload(t *testing.T) {
	w := newWorld(t, nil)
	l := w.mustConnect(relay.WebTransport, w.token("a", nil))
	if err := w.edge.Reload(edge.Reload{Limits: &edge.Limits{Payload: 2 << 20}}); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("a payload beyond all bounds: %v", err)
	}
	next := certificate(t)
	if err := w.edge.Reload(edge.Reload{
		Limits:       &edge.Limits{Session: edge.Scope{Publishes: 1}, Subject: edge.Scope{Subscriptions: 1, Sessions: 1}},
		Certificates: []tlsCertificate{next},
	}); err != nil {
		t.Fatal(err)
	}
	relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: "demo:1"}).Expect(relay.KindOK)
	if f := relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: "demo:2"}).Frame(); endCode(f) != relay.TooManySubscriptions {
		t.Errorf("the second subscription: %+v", f)
	}
	publish(t, l, relay.Publication{Channel: "demo:x", Body: body("x")})
	if _, end := publish(t, l, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.PublishRate {
		t.Errorf("the second publish of a second: %+v", end)
	}
	if _, err := w.connect(relay.WebTransport, w.token("b", nil)); err == nil {
		t.Error("the old certificate is still shown")
	}
	w.roots.AddCert(next.Leaf)
	resp, err := w.client(true).Get("https://" + w.addr + "/v1/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.TLS.PeerCertificates[0]; !got.Equal(next.Leaf) {
		t.Error("another certificate than the new one")
	}
}

// A browser's page connects from the origins on the list only.
func TestSessionOrigins(t *testing.T) {
	w := newWorld(t, nil)
	for origin, want := range map[string]bool{"https://app.example": true, "https://evil.example": false, "null": false} {
		d, err := transport.NewDialer(transport.DialerConfig{
			CertHashes: [][32]byte{sha256.Sum256(w.certificates[0].Leaf.Raw)}, Header: http.Header{"Origin": {origin}}})
		if err != nil {
			t.Fatal(err)
		}
		page := *w
		page.dialer = d
		for _, carrier := range carriers {
			l, err := page.connect(carrier, w.token("page", nil))
			if (err == nil) != want {
				t.Errorf("%s from %s: %v", carrier, origin, err)
			}
			if err == nil {
				l.Close(relay.Done, "")
				<-l.Done()
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	w.metric("meridian_transport_refused_total", `reason="origin_refused"`, 4)
}
