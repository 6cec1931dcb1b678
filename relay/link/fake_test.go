package link

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// fakeHome is an Upstream that a test drives: it answers each publish with the next seq, and
// every subscription begins at 1:0.
type fakeHome struct {
	mu     sync.Mutex
	seq    relay.Seq
	got    []relay.Publication
	answer func(relay.Publication) (relay.Position, relay.End, bool) // false: no answer
	busy   bool
	hold   bool // OK comes when the test says
	subs   map[relay.Channel]*fakeSub
	reqs   []relay.SubscribeRequest
}

func newFakeHome() *fakeHome { return &fakeHome{subs: map[relay.Channel]*fakeSub{}} }

func (h *fakeHome) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy {
		return relay.ErrBusy
	}
	p.Body = append([]byte(nil), p.Body...) // it is lent until the answer
	h.got = append(h.got, p)
	if h.answer != nil {
		if at, e, ok := h.answer(p); ok {
			go answer(at, e)
		}
		return nil
	}
	h.seq++
	at := relay.Position{Epoch: 1, Seq: h.seq}
	go answer(at, relay.End{})
	return nil
}

func (h *fakeHome) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	s := &fakeSub{wake: wake, armed: true}
	h.mu.Lock()
	h.reqs = append(h.reqs, r)
	h.subs[r.Channel] = s
	h.mu.Unlock()
	if !h.hold {
		s.ok()
	}
	return s
}

func (s *fakeSub) ok() {
	s.push(relay.Frame{Kind: relay.KindOK, At: relay.Position{Epoch: 1}, Next: relay.Position{Epoch: 1}})
}

func (h *fakeHome) sub(c relay.Channel) *fakeSub {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.subs[c]
}

type fakeSub struct {
	wake func()

	mu     sync.Mutex
	frames []relay.Frame
	seq    relay.Seq
	armed  bool
	closed bool
	pulls  int
}

func (s *fakeSub) push(frames ...relay.Frame) {
	s.mu.Lock()
	s.frames = append(s.frames, frames...)
	wake := s.armed
	s.armed = false
	s.mu.Unlock()
	if wake {
		s.wake()
	}
}

// messages pushes n messages of so many bytes of body.
func (s *fakeSub) messages(n, size int) {
	frames := make([]relay.Frame, n)
	s.mu.Lock()
	for i := range frames {
		s.seq++
		frames[i] = relay.Frame{Kind: relay.KindMessage, At: relay.Position{Epoch: 1, Seq: s.seq}, Body: make([]byte, size)}
	}
	s.mu.Unlock()
	s.push(frames...)
}

func (s *fakeSub) Next(dst []relay.Frame, most int) []relay.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		panic("Next after Close")
	}
	if most <= 0 {
		return dst
	}
	s.pulls++
	var n, bytes int
	for n < len(s.frames) && bytes < most {
		bytes += len(s.frames[n].Body)
		n++
	}
	dst = append(dst, s.frames[:n]...)
	s.frames = s.frames[n:]
	s.armed = bytes < most
	return dst
}

func (s *fakeSub) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		panic("Close twice")
	}
	s.closed = true
}

func (s *fakeSub) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// fakeGate grants by token: "all", "hop" (a process of the fleet), "sub" (subscribe only), "short" (all, for 10 s).
type fakeGate struct {
	mu     sync.Mutex
	subs   int
	refuse relay.End // of publishes
}

func (g *fakeGate) Hello(token string) (*relay.Grant, relay.End) {
	grant := &relay.Grant{Subject: "ann", Capabilities: []relay.Capability{{Pattern: "*", Actions: relay.ActPublish | relay.ActSubscribe | relay.ActHistory}}}
	switch token {
	case "all":
	case "short":
		grant.Expires = time.Now().Add(10 * time.Second)
	case "sub":
		grant.Capabilities[0].Actions = relay.ActSubscribe
	case "pub":
		grant.Capabilities[0].Actions = relay.ActPublish
	case "hop":
		grant.Hop = true
	case "bob":
		grant.Subject = "bob"
	default:
		return nil, relay.End{Code: relay.Unauthorized, Detail: "unknown token"}
	}
	return grant, relay.End{}
}

func (g *fakeGate) Publish(relay.Channel, int) relay.End { return g.refuse }

func (g *fakeGate) Subscribe(relay.Channel) relay.End {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subs++
	return relay.End{}
}

func (g *fakeGate) Unsubscribe(relay.Channel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subs--
}

// rig is a Server under test and the raw client end of its session.
type rig struct {
	t      *testing.T
	home   *fakeHome
	gate   *fakeGate
	server *Server
	client *pipeSession
	stream relay.Stream
	r      *wire.Reader
	ended  chan error
}

// serve starts a Server whose streams hold room unread bytes.
func serve(t *testing.T, room int) *rig {
	c, s := newPipe(room)
	g := &rig{t: t, home: newFakeHome(), gate: &fakeGate{}, client: c, ended: make(chan error, 1)}
	g.server = NewServer(ServeConfig{Session: s, Upstream: g.home, Gate: g.gate, Welcome: &wire.Welcome{Session: "s1", Edge: "e1"}})
	go func() { g.ended <- g.server.Run(context.Background()) }()
	g.stream, _ = c.Open(t.Context())
	g.r = wire.NewReader(g.stream)
	return g
}

func (g *rig) write(b []byte) {
	g.t.Helper()
	if _, err := g.stream.Write(b); err != nil {
		g.t.Fatalf("write: %v", err)
	}
}

func (g *rig) send(t wire.Type, ref uint64, m proto.Message) {
	g.t.Helper()
	g.write(wire.AppendProto(nil, t, ref, m))
}

// hello opens the session.
func (g *rig) hello(token string, lanes, streams uint32) {
	g.t.Helper()
	g.send(wire.TypeHello, 0, &wire.Hello{Token: token, Lanes: lanes, Streams: streams})
	if f := g.next(); f.Type != wire.TypeWelcome {
		g.t.Fatalf("got %v, want Welcome", f.Type)
	}
}

// next reads a frame from the first stream; its body is copied.
func (g *rig) next() wire.Frame {
	g.t.Helper()
	return readFrame(g.t, g.r)
}

func readFrame(t *testing.T, r *wire.Reader) wire.Frame {
	t.Helper()
	f, err := r.Next()
	if err != nil {
		t.Fatalf("read a frame: %v", err)
	}
	f.Body = append([]byte(nil), f.Body...)
	return f
}

// wantEnd reads frames until an End for ref, and checks its code.
func (g *rig) wantEnd(ref uint64, code relay.Code) relay.End {
	g.t.Helper()
	for {
		f := g.next()
		if f.Type != wire.TypeEnd {
			continue
		}
		e, _, err := parseEnd(f.Body)
		if err != nil || f.Ref != ref || e.Code != code {
			g.t.Fatalf("got End{ref %d, %v, %q}, %v; want ref %d, %v", f.Ref, e.Code, e.Detail, err, ref, code)
		}
		return e
	}
}

// close ends the session as the client and waits for the server.
func (g *rig) close() {
	g.client.Close(relay.Done, "")
	<-g.ended
	if g.gate.subs != 0 {
		g.t.Errorf("%d subscriptions were not released", g.gate.subs)
	}
	for c, s := range g.home.subs {
		if !s.isClosed() {
			g.t.Errorf("subscription of %s was not closed", c)
		}
	}
}
