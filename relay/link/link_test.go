package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// pair is a Link to a Server in front of a fake home.
type pair struct {
	home   *fakeHome
	server *Server
	link   *Link
	client *pipeSession
	ended  chan error
}

func connect(t *testing.T, cfg Config) *pair {
	t.Helper()
	c, s := newPipe(64 << 10)
	p := &pair{home: newFakeHome(), client: c, ended: make(chan error, 1)}
	p.server = NewServer(ServeConfig{Session: s, Upstream: p.home, Gate: Open{&relay.Grant{Hop: true}}})
	go func() { p.ended <- p.server.Run(context.Background()) }()
	cfg.Session = c
	var err error
	if p.link, err = Connect(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) close() {
	p.link.Close(relay.Done, "")
	<-p.link.Done()
	<-p.ended
}

// taker takes a subscription's frames as it is woken.
type taker struct {
	sub    relay.Subscription
	woken  chan struct{}
	frames []relay.Frame
}

func (p *pair) take(r relay.SubscribeRequest, o Options) *taker {
	k := &taker{woken: make(chan struct{}, 8)}
	k.sub = p.link.SubscribeWith(r, o, func() { k.woken <- struct{}{} })
	return k
}

// until takes until n frames have come.
func (k *taker) until(t *testing.T, n int) {
	t.Helper()
	for len(k.frames) < n {
		<-k.woken
		for more := true; more; {
			before := len(k.frames)
			k.frames = k.sub.Next(k.frames, 4096)
			var bytes int
			for i := range k.frames[before:] {
				f := &k.frames[before+i]
				bytes += len(f.Body)
				f.Body = append([]byte(nil), f.Body...)
			}
			more = bytes >= 4096
		}
	}
}

func (k *taker) last() relay.Frame { return k.frames[len(k.frames)-1] }

func TestLinkCarriesTheSeam(t *testing.T) {
	for _, o := range []Options{{}, {Own: true}, {Window: -1}, {Window: 5000}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, Config{Lanes: 4})
				k := p.take(relay.SubscribeRequest{Channel: "chat:a", Subject: "ann", Limit: 7, Barrier: true,
					From: relay.Start{Kind: relay.StartAfter, After: relay.Position{Epoch: 2, Seq: 3}}}, o)
				k.until(t, 1)
				want := relay.SubscribeRequest{Channel: "chat:a", Subject: "ann", Limit: 7, Barrier: true,
					From: relay.Start{Kind: relay.StartAfter, After: relay.Position{Epoch: 2, Seq: 3}}}
				if p.home.reqs[0] != want {
					t.Errorf("the home was asked %+v; want %+v", p.home.reqs[0], want)
				}
				sub := p.home.sub("chat:a")
				sub.messages(500, 1000)
				k.until(t, 501)
				for i, f := range k.frames[1:] {
					if f.Kind != relay.KindMessage || f.At.Seq != relay.Seq(i+1) || len(f.Body) != 1000 {
						t.Fatalf("frame %d: %+v", i, f)
					}
				}
				sub.push(
					relay.Frame{Kind: relay.KindGap, At: relay.Position{Epoch: 1, Seq: 500}, Next: relay.Position{Epoch: 2, Seq: 1}, Reason: relay.GapEpoch},
					relay.Frame{Kind: relay.KindStatus, State: relay.Lost},
					relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.Moved, RetryAfter: time.Second, Detail: "d", Hint: relay.Hint{Shard: "s2"}}})
				k.until(t, 504)
				gap, status, end := k.frames[501], k.frames[502], k.frames[503]
				if gap.Kind != relay.KindGap || gap.At.Seq != 500 || gap.Next.Epoch != 2 || gap.Reason != relay.GapEpoch {
					t.Errorf("gap %+v", gap)
				}
				if status.Kind != relay.KindStatus || status.State != relay.Lost {
					t.Errorf("status %+v", status)
				}
				if end.At.Seq != 500 || end.End.Code != relay.Moved || end.End.Hint.Shard != "s2" || end.End.RetryAfter != time.Second {
					t.Errorf("end %+v %+v", end, end.End)
				}
				k.sub.Close()
				p.close()
			})
		})
	}
}

func TestLinkPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{})
		type got struct {
			at  relay.Position
			end relay.End
		}
		answers := make(chan got, 100)
		pub := relay.Publication{Channel: "chat:a", Subject: "ann", Producer: relay.Producer{1}, N: 1, Age: 3 * time.Second, Body: message("hi")}
		for i := range 100 {
			pub.N = uint64(i + 1)
			if err := p.link.Publish(pub, func(at relay.Position, e relay.End) { answers <- got{at, e} }); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			if g := <-answers; g.end.Code != relay.Done || g.at.Epoch != 1 || g.at.Seq == 0 {
				t.Fatalf("answer %+v", g)
			}
		}
		for i, g := range p.home.got {
			pub.N = uint64(i + 1)
			if g.N != pub.N || g.Channel != pub.Channel || g.Subject != pub.Subject || g.Producer != pub.Producer || g.Age != pub.Age || string(g.Body) != string(pub.Body) {
				t.Fatalf("publish %d arrived as %+v", i, g)
			}
		}
		p.home.answer = func(relay.Publication) (relay.Position, relay.End, bool) {
			return relay.Position{}, relay.End{Code: relay.Conflict, Detail: "other payload"}, true
		}
		_ = p.link.Publish(pub, func(at relay.Position, e relay.End) { answers <- got{at, e} })
		if g := <-answers; g.end.Code != relay.Conflict || g.end.Detail != "other payload" {
			t.Errorf("answer %+v", g)
		}
		p.close()
	})
}

// Every publish is answered once: unknown when the session ends or nothing comes in time.
func TestLinkAnswersUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{})
		p.home.answer = func(relay.Publication) (relay.Position, relay.End, bool) {
			return relay.Position{}, relay.End{}, false
		}
		start := time.Now()
		answers := make(chan relay.End, 10)
		ask := func() error {
			return p.link.Publish(relay.Publication{Channel: "chat:a", Body: message("x")}, func(_ relay.Position, e relay.End) { answers <- e })
		}
		_ = ask()
		if e := <-answers; e.Code != relay.Unknown {
			t.Errorf("answer %+v", e)
		}
		if d := time.Since(start); d > relay.AnswerWithin {
			t.Errorf("answered after %v", d)
		}
		_ = ask()
		_ = ask()
		synctest.Wait()
		p.client.peer.Close(relay.GoingAway, "bye")
		for range 2 {
			if e := <-answers; e.Code != relay.Unknown {
				t.Errorf("answer %+v", e)
			}
		}
		<-p.link.Done()
		if err := ask(); !errors.Is(err, relay.ErrUnavailable) {
			t.Errorf("publish on an ended link: %v", err)
		}
		if e, ok := errors.AsType[*relay.Error](p.link.Err()); !ok || e.End.Code != relay.GoingAway {
			t.Errorf("the link ended with %v", p.link.Err())
		}
		<-p.ended
	})
}

// What stands unanswered is bounded by what the peer said.
func TestLinkIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{})
		p.home.answer = func(relay.Publication) (relay.Position, relay.End, bool) {
			return relay.Position{}, relay.End{}, false
		}
		body := message(strings.Repeat("x", 60_000))
		var n int
		for p.link.Publish(relay.Publication{Channel: "chat:a", Body: body}, func(relay.Position, relay.End) {}) == nil {
			n++
		}
		if n != 17 {
			t.Errorf("%d publishes of 60,000 bytes were taken; want 17 for 1 MiB", n)
		}
		p.close()
	})
}

// The session's end is the last frame of every subscription on it.
func TestLinkLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{Lanes: 4})
		a := p.take(relay.SubscribeRequest{Channel: "chat:a"}, Options{})
		b := p.take(relay.SubscribeRequest{Channel: "chat:b"}, Options{Own: true})
		a.until(t, 1)
		b.until(t, 1)
		p.client.peer.Close(relay.GoingAway, "bye")
		a.until(t, 2)
		b.until(t, 2)
		for _, k := range []*taker{a, b} {
			if f := k.last(); f.Kind != relay.KindEnd || f.End.Code != relay.LinkLost {
				t.Errorf("last frame %+v", f)
			}
			k.sub.Close()
		}
		<-p.link.Done()
		c := p.take(relay.SubscribeRequest{Channel: "chat:c"}, Options{})
		c.until(t, 1)
		if f := c.last(); f.Kind != relay.KindEnd || f.End.Code != relay.LinkLost {
			t.Errorf("on an ended link: %+v", f)
		}
		<-p.ended
	})
}

// A consumer that does not take makes the peer stop after a window.
func TestWindowPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{})
		k := p.take(relay.SubscribeRequest{Channel: "chat:a"}, Options{Window: 10_000})
		k.until(t, 1)
		sub := p.home.sub("chat:a")
		sub.messages(1000, 1000)
		synctest.Wait()
		s := k.sub.(*subscription)
		if s.bytes != 10_000 {
			t.Errorf("%d bytes wait for a window of 10,000", s.bytes)
		}
		k.until(t, 1001)
		k.sub.Close()
		p.close()
	})
}

// Subscriptions without a window share the link's backlog: past it the session is not read.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{Backlog: 100_000, Default: Options{Window: -1}})
		a := p.take(relay.SubscribeRequest{Channel: "chat:a"}, Options{Window: -1})
		a.until(t, 1)
		p.home.sub("chat:a").messages(1000, 1000)
		synctest.Wait()
		if n := p.link.backlog.bytes; n < 100_000 || n > 101_000 {
			t.Errorf("%d bytes wait; the bound is 100,000 and a message", n)
		}
		a.until(t, 1001)
		if n := p.link.backlog.bytes; n != 0 {
			t.Errorf("%d bytes of backlog are left", n)
		}
		p.home.sub("chat:a").messages(1000, 1000)
		synctest.Wait()
		a.sub.Close() // what waited is let go
		synctest.Wait()
		if n := p.link.backlog.bytes; n != 0 {
			t.Errorf("%d bytes of backlog are left after Close", n)
		}
		p.close()
	})
}

func TestCallsOnALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{Agent: "test/1"})
		if _, err := p.link.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if d, err := p.link.Refresh(t.Context(), "x"); err != nil || d != 0 {
			t.Errorf("refresh: %v, %v", d, err)
		}
		p.close()
		if _, err := p.link.Ping(t.Context()); !errors.Is(err, errEnded) {
			t.Errorf("ping on an ended link: %v", err)
		}
	})
}

func TestConnectRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newPipe(1 << 20)
		server := NewServer(ServeConfig{Session: s, Upstream: newFakeHome(), Gate: &fakeGate{}})
		ended := make(chan error, 1)
		go func() { ended <- server.Run(context.Background()) }()
		_, err := Connect(t.Context(), Config{Session: c, Token: "?"})
		if e, ok := errors.AsType[*relay.Error](err); !ok || e.End.Code != relay.Unauthorized || e.End.Detail != "unknown token" {
			t.Errorf("got %v", err)
		}
		<-ended
	})
}

// A peer that never answers Hello costs the caller no longer than its context.
func TestConnectTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newPipe(1 << 20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Connect(ctx, Config{Session: c}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Bytes of a peer that are not the protocol end the link with a code.
func TestLinkEndsOnBadBytes(t *testing.T) {
	welcome := wire.AppendProto(nil, wire.TypeWelcome, 0, &wire.Welcome{})
	for name, b := range map[string][]byte{
		"second Welcome":    welcome,
		"Publish":           publishFrame(1, "chat:a", nil),
		"unknown type":      wire.AppendFrame(nil, 0x3e, 0, nil),
		"bad Gap":           wire.AppendFrame(nil, wire.TypeGap, 1, []byte{0xff}),
		"bad position":      wire.AppendMessage(nil, 1, 1<<54, 1, nil),
		"bad OK position":   wire.AppendOK(nil, 1, 1<<54, 1, 0, 0),
		"Message, ref 0":    wire.AppendMessage(nil, 0, 1, 1, nil),
		"bad End position":  wire.AppendProto(nil, wire.TypeEnd, 1, &wire.End{Code: 50, Seq: 1 << 53}),
		"End of no message": wire.AppendFrame(nil, wire.TypeEnd, 1, []byte{0xff}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newPipe(1 << 20)
				go func() {
					st, _ := s.Accept(t.Context())
					_, _ = st.Write(append(welcome, b...))
				}()
				l, err := Connect(t.Context(), Config{Session: c})
				if err == nil {
					<-l.Done()
					err = l.Err()
				}
				if e, ok := errors.AsType[*relay.Error](err); !ok || e.End.Code != relay.Protocol {
					t.Errorf("got %v; want protocol", err)
				}
			})
		})
	}
}

// A peer that sends beyond the credit is cut off.
func TestLinkHoldsPeerToCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newPipe(1 << 20)
		go func() {
			st, _ := s.Accept(t.Context())
			_, _ = st.Write(wire.AppendProto(nil, wire.TypeWelcome, 0, &wire.Welcome{}))
			time.Sleep(time.Second)
			b := wire.AppendOK(nil, 1, 1, 0, 1, 0)
			for seq := range uint64(4) {
				b = wire.AppendMessage(b, 1, 1, seq+1, make([]byte, 600))
			}
			_, _ = st.Write(b)
		}()
		var l *Link
		l, err := Connect(t.Context(), Config{Session: c})
		if err != nil {
			t.Fatal(err)
		}
		l.SubscribeWith(relay.SubscribeRequest{Channel: "chat:a"}, Options{Window: 1000}, func() {})
		<-l.Done()
		if e, ok := errors.AsType[*relay.Error](l.Err()); !ok || e.End.Code != relay.Protocol {
			t.Errorf("got %v; want protocol", l.Err())
		}
	})
}

// Over a carrier without datagrams, a subscription that asks for them comes on the stream, and
// is paced.
func TestDatagramWithoutDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{})
		p.client.info.Carrier, p.client.peer.info.Carrier = relay.WebSocket, relay.WebSocket
		k := p.take(relay.SubscribeRequest{Channel: "cur:a", Mode: relay.Latest}, Options{Datagram: true})
		k.until(t, 1)
		p.home.sub("cur:a").messages(1000, 2000)
		k.until(t, 1001)
		k.sub.Close()
		p.close()
	})
}

// Datagrams before OK, overtaken or repeated are dropped: the seam stays as it is said.
func TestDatagramsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{})
		server := p.client.peer
		send := func(seq uint64) {
			if err := server.SendDatagram(wire.AppendDatagram(nil, 1, 1, seq, []byte("x"))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		p.home.hold = true
		k := p.take(relay.SubscribeRequest{Channel: "cur:a", Mode: relay.Latest}, Options{Datagram: true})
		synctest.Wait()
		send(1)
		p.home.sub("cur:a").ok()
		synctest.Wait()
		for _, seq := range []uint64{3, 2, 3, 4} {
			send(seq)
		}
		k.until(t, 3)
		synctest.Wait()
		k.frames = k.sub.Next(k.frames, 4096)
		var got []relay.Seq
		for _, f := range k.frames[1:] {
			got = append(got, f.At.Seq)
		}
		if k.frames[0].Kind != relay.KindOK || !slices.Equal(got, []relay.Seq{3, 4}) {
			t.Errorf("first frame of kind %d, then seqs %v; want OK, then 3 and 4", k.frames[0].Kind, got)
		}
		p.close()
	})
}

// History that nobody takes does not stop the live subscriptions of a hub's link.
func TestHistoryHasAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Config{Backlog: 100_000, Default: Options{Window: -1}})
		woken := make(chan struct{}, 8)
		p.link.Subscribe(relay.SubscribeRequest{Channel: "chat:old", From: relay.Start{Kind: relay.StartFirst}}, func() {})
		live := p.link.Subscribe(relay.SubscribeRequest{Channel: "chat:new"}, func() { woken <- struct{}{} })
		<-woken
		live.Next(nil, 4096)
		p.home.sub("chat:old").messages(5000, 1000)
		synctest.Wait()
		p.home.sub("chat:new").messages(1, 10)
		<-woken
		if frames := live.Next(nil, 4096); len(frames) != 1 || frames[0].Kind != relay.KindMessage {
			t.Errorf("got %+v", frames)
		}
		p.close()
	})
}
