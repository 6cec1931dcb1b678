package link

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// farm serves every dial with a new Server in front of one home.
type farm struct {
	home *fakeHome
	down atomic.Bool

	mu      sync.Mutex
	servers []*Server
	clients []*pipeSession
}

func (f *farm) dial(ctx context.Context) (*Link, error) {
	if f.down.Load() {
		return nil, errors.New("refused")
	}
	c, s := newPipe(1 << 20)
	server := NewServer(ServeConfig{Session: s, Upstream: f.home, Gate: Open{&relay.Grant{Hop: true}}})
	f.mu.Lock()
	f.servers, f.clients = append(f.servers, server), append(f.clients, c)
	f.mu.Unlock()
	go func() { _ = server.Run(context.Background()) }()
	return Connect(ctx, Config{Session: c, Default: Options{Window: -1}})
}

func runLinks(t *testing.T, f *farm, n int) (*Links, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	l := NewLinks(LinksConfig{Dial: f.dial, Links: n})
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	synctest.Wait()
	return l, func() { cancel(); <-done; synctest.Wait() }
}

// A lost link is dialled again; meanwhile its channels are unavailable.
func TestLinksRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{home: newFakeHome()}
		l, stop := runLinks(t, f, 1)
		publish := func() error {
			return l.Publish(relay.Publication{Channel: "chat:a"}, func(relay.Position, relay.End) {})
		}
		if err := publish(); err != nil {
			t.Fatal(err)
		}
		f.down.Store(true)
		f.clients[0].Close(relay.Internal, "cut")
		synctest.Wait()
		if err := publish(); !errors.Is(err, relay.ErrUnavailable) || relay.Refusal(err).Code != relay.Unavailable {
			t.Errorf("publish without a link: %v", err)
		}
		var woken int
		sub := l.Subscribe(relay.SubscribeRequest{Channel: "chat:a"}, func() { woken++ })
		frames := sub.Next(nil, 1)
		if woken != 1 || len(frames) != 1 || frames[0].End.Code != relay.Unavailable {
			t.Errorf("subscribe without a link: woken %d, %+v", woken, frames)
		}
		time.Sleep(time.Minute)
		f.down.Store(false)
		time.Sleep(backoffTo)
		synctest.Wait()
		if err := publish(); err != nil {
			t.Errorf("publish after the link is back: %v", err)
		}
		stop()
	})
}

// On GoAway subscriptions learn the deadline, and new requests take a new link while the old
// one is still served.
func TestLinksMakeBeforeBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{home: newFakeHome()}
		l, stop := runLinks(t, f, 1)
		woken := make(chan struct{}, 8)
		sub := l.Subscribe(relay.SubscribeRequest{Channel: "chat:a"}, func() { woken <- struct{}{} })
		<-woken
		sub.Next(nil, 1000)
		old := f.home.sub("chat:a")
		f.servers[0].GoAway(relay.GoingAway, 20*time.Second, []string{"https://other"})
		<-woken
		frames := sub.Next(nil, 1000)
		if len(frames) != 1 || frames[0].Kind != relay.KindEnd || frames[0].End.Deadline != 20*time.Second {
			t.Fatalf("got %+v; want an End with the deadline", frames)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(f.servers) != 2 {
			t.Fatalf("%d links were dialled; want a second one", len(f.servers))
		}
		old.messages(1, 10)
		<-woken
		if frames = sub.Next(nil, 1000); len(frames) != 1 || frames[0].Kind != relay.KindMessage {
			t.Errorf("the old link is no longer served: %+v", frames)
		}
		l.Subscribe(relay.SubscribeRequest{Channel: "chat:b"}, func() {})
		synctest.Wait()
		if f.servers[1].feed(1) == nil {
			t.Error("a new subscription did not take the new link")
		}
		stop()
	})
}

// A channel always takes the same link, and many channels take all.
func TestLinksSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{home: newFakeHome()}
		l, stop := runLinks(t, f, 4)
		used := map[*Link]int{}
		for i := range 400 {
			c := relay.Channel("chat:" + string(rune('a'+i)))
			link := l.pick(c)
			if again := l.pick(c); again != link {
				t.Fatal("a channel took two links")
			}
			used[link]++
		}
		for link, n := range used {
			if n < 50 {
				t.Errorf("link %p has %d of 400 channels", link, n)
			}
		}
		if len(used) != 4 {
			t.Errorf("%d links are used; want 4", len(used))
		}
		stop()
	})
}
