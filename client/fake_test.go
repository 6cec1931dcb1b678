package client

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A fakeLink is a session without a network: what a test has not set hangs or succeeds.
type fakeLink struct {
	request dialRequest
	at      time.Time // dialled
	welcome *wire.Welcome
	done    chan struct{}
	ping    func(ctx context.Context) (time.Duration, error)
	refresh func(token string) (time.Duration, error)
	publish func(p relay.Publication, answer func(relay.Position, relay.End)) error
	script  []relay.Frame // of every subscription

	mu     sync.Mutex
	err    error
	code   relay.Code
	closed time.Time
	subs   []*fakeSub
}

func (l *fakeLink) Welcome() *wire.Welcome { return l.welcome }
func (l *fakeLink) Done() <-chan struct{}  { return l.done }

func (l *fakeLink) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *fakeLink) Close(code relay.Code, reason string) {
	l.end(&relay.CloseError{Code: code, Reason: reason})
}

// end ends the session with err.
func (l *fakeLink) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err, l.closed = err, time.Now()
	if e, ok := codeOf(err); ok {
		l.code = e.Code
	}
	close(l.done)
	for _, s := range l.subs {
		s.put(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.LinkLost}})
	}
}

func (l *fakeLink) closedAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *fakeLink) Ping(ctx context.Context) (time.Duration, error) {
	if l.ping == nil {
		return time.Millisecond, nil
	}
	return l.ping(ctx)
}

func (l *fakeLink) Refresh(_ context.Context, token string) (time.Duration, error) {
	return l.refresh(token)
}

func (l *fakeLink) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	if l.publish == nil {
		return nil // never answered
	}
	return l.publish(p, answer)
}

func (l *fakeLink) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	return l.SubscribeWith(r, link.Options{}, wake)
}

func (l *fakeLink) SubscribeWith(r relay.SubscribeRequest, o link.Options, wake func()) relay.Subscription {
	s := &fakeSub{request: r, options: o, wake: wake}
	l.mu.Lock()
	l.subs = append(l.subs, s)
	l.mu.Unlock()
	for _, f := range l.script {
		s.put(f)
	}
	return s
}

func (l *fakeLink) sub(i int) *fakeSub {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subs[i]
}

// A fakeSub gives what a test puts.
type fakeSub struct {
	request relay.SubscribeRequest
	options link.Options
	wake    func()

	mu      sync.Mutex
	waiting []relay.Frame
	pulls   int // calls of Next
	bytes   int // that Next has given
	closed  bool
}

func (s *fakeSub) put(f relay.Frame) {
	s.mu.Lock()
	s.waiting = append(s.waiting, f)
	s.mu.Unlock()
	s.wake()
}

func (s *fakeSub) Next(dst []relay.Frame, most int) []relay.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls++
	for n := 0; len(s.waiting) > 0 && n < most; s.waiting = s.waiting[1:] {
		n += len(s.waiting[0].Body)
		s.bytes += len(s.waiting[0].Body)
		dst = append(dst, s.waiting[0])
	}
	return dst
}

func (s *fakeSub) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// A fakeNet dials fakeLinks.
type fakeNet struct {
	t *testing.T
	// prepare sets up the n-th link, from 0, or refuses it.
	prepare func(n int, l *fakeLink) error

	mu    sync.Mutex
	dials []dialRequest
	times []time.Time
	links []*fakeLink
}

func (f *fakeNet) dial(ctx context.Context, r dialRequest) (session, relay.Carrier, error) {
	f.mu.Lock()
	n := len(f.dials)
	f.dials, f.times = append(f.dials, r), append(f.times, time.Now())
	f.mu.Unlock()
	l := &fakeLink{request: r, at: time.Now(), welcome: &wire.Welcome{Edge: "e"}, done: make(chan struct{})}
	if f.prepare != nil {
		if err := f.prepare(n, l); err != nil {
			return nil, "", err
		}
	}
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	f.mu.Lock()
	f.links = append(f.links, l)
	f.mu.Unlock()
	return l, relay.WebTransport, nil
}

func (f *fakeNet) link(i int) *fakeLink {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i >= len(f.links) {
		f.t.Fatalf("only %d sessions; want %d", len(f.links), i+1)
	}
	return f.links[i]
}

func (f *fakeNet) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.dials)
}

// client dials one over f, inside a synctest bubble.
func (f *fakeNet) client(cfg Config) *Client {
	f.t.Helper()
	cfg.dial = f.dial
	c, err := Dial(f.t.Context(), "https://edge.test", cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = c.Close(ctx)
	})
	return c
}
