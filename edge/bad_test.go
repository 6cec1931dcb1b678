package edge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A taker takes the messages of one subscription, and holds them to their order.
type taker struct {
	t    *testing.T
	name string
	sub  relay.Subscription
	woke chan struct{}
	seq  relay.Seq // of the last message
}

func take(t *testing.T, l *link.Link, name string, o link.Options) *taker {
	k := &taker{t: t, name: name, woke: make(chan struct{}, 1)}
	k.sub = l.SubscribeWith(relay.SubscribeRequest{Channel: "demo:x"}, o, func() {
		select {
		case k.woke <- struct{}{}:
		default: // woken already; to wait here would hold up the whole session
		}
	})
	t.Cleanup(k.sub.Close)
	return k
}

// begun waits for the subscription's OK. It takes at most one message.
func (k *taker) begun() {
	k.t.Helper()
	k.await("OK", 1, func(f relay.Frame) bool { return f.Kind == relay.KindOK })
}

// until waits for the message n, and those before it.
func (k *taker) until(n relay.Seq) {
	k.t.Helper()
	if k.seq < n {
		k.await(fmt.Sprint("message ", n), 64<<10, func(f relay.Frame) bool { return f.At.Seq == n && f.Kind == relay.KindMessage })
	}
}

func (k *taker) await(what string, bytes int, is func(relay.Frame) bool) {
	k.t.Helper()
	late := time.After(15 * time.Second)
	for {
		frames := k.sub.Next(nil, bytes)
		var size int
		var found bool
		for _, f := range frames {
			size += len(f.Body)
			switch f.Kind {
			case relay.KindOK:
			case relay.KindMessage:
				if k.seq++; f.At.Seq != k.seq {
					k.t.Fatalf("%s: message %v; want %d", k.name, f.At, k.seq)
				}
			default:
				k.t.Fatalf("%s: %+v", k.name, f)
			}
			found = found || is(f)
		}
		if found {
			return
		}
		if size >= bytes {
			continue
		}
		select {
		case <-k.woke:
		case <-late:
			k.t.Fatalf("%s: no %s within 15 s; the last message is %d", k.name, what, k.seq)
		}
	}
}

// fill publishes n messages of so many bytes.
func fill(t *testing.T, l *link.Link, n, size int) {
	t.Helper()
	payload := body(string(make([]byte, size)))
	for i := range n {
		if _, end := publish(t, l, relay.Publication{Channel: "demo:x", Body: payload}); end.Code != relay.Done {
			t.Fatalf("publish %d: %v", i, end.Err())
		}
	}
}

func mustPing(t *testing.T, l *link.Link) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := l.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// Subscriptions that never grant credit, some of a session's or all, hold up nobody: not the
// others of their session, nor its calls, nor other sessions. Nothing is lost to them.
func TestNoCredit(t *testing.T) {
	const subscriptions, messages = 200, 30
	for _, carrier := range carriers {
		for _, stuck := range []int{20, subscriptions} {
			t.Run(fmt.Sprintf("%d over %s", stuck, carrier), func(t *testing.T) {
				w := newWorld(t, nil)
				l := w.mustConnect(carrier, w.token("reader", nil))
				var takers []*taker
				for i := range subscriptions {
					o := link.Options{Own: i%2 == 0}
					if i < stuck {
						o.Window = 2000 // of which one message is not half
					}
					k := take(t, l, fmt.Sprint("subscription ", i), o)
					k.begun()
					takers = append(takers, k)
				}
				other := take(t, w.mustConnect(carrier, w.token("other", nil)), "another session", link.Options{})
				other.begun()
				fill(t, w.mustConnect(carrier, w.token("writer", nil)), messages, 700)
				other.until(messages)
				for _, k := range takers[stuck:] {
					k.until(messages)
				}
				mustPing(t, l)
				for _, k := range takers[:stuck] {
					k.until(messages)
				}
			})
		}
	}
}

// greet opens a session, and sends Hello and more on its first stream, of which it reads nothing.
func (w *world) greet(carrier relay.Carrier, lanes, streams uint32, more []byte) (relay.Session, relay.Stream) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	s, err := w.session(ctx, carrier)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close(relay.Done, "") })
	first, err := s.Open(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	hello := &wire.Hello{Token: w.token("mute", nil), Lanes: lanes, Streams: streams}
	if _, err := first.Write(append(wire.AppendProto(nil, wire.TypeHello, 0, hello), more...)); err != nil {
		w.t.Fatal(err)
	}
	return s, first
}

// Sessions that never read hold up nobody else, whatever credit they gave.
func TestNeverReads(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(string(carrier), func(t *testing.T) {
			w := newWorld(t, nil)
			for i := range 10 {
				var b []byte
				for ref := uint64(1); ref <= 4; ref++ {
					b = wire.AppendProto(b, wire.TypeSubscribe, ref, &wire.Subscribe{Channel: "demo:x", Own: i%2 == 0, Credit: 1 << 40})
				}
				w.greet(carrier, 4, 0, b)
			}
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				if _, metrics := w.fetch("/metrics"); strings.Contains(metrics, "\nmeridian_hub_subscriptions 40\n") {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the subscriptions of the mute are not there after 10 s")
				}
			}
			k := take(t, w.mustConnect(carrier, w.token("other", nil)), "another session", link.Options{})
			k.begun()
			writer := w.mustConnect(carrier, w.token("writer", nil))
			start := time.Now()
			fill(t, writer, 200, 20_000) // beyond windows and buffers
			k.until(200)
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("200 messages took %v", d)
			}
			mustPing(t, writer)
		})
	}
}

// Streams that are opened and reset in a loop end their session, and no other.
func TestStreamsOpenedAndReset(t *testing.T) {
	w := newWorld(t, nil)
	l := w.mustConnect(relay.WebTransport, w.token("other", nil))
	s, first := w.greet(relay.WebTransport, 0, 15, nil)
	if f, err := wire.NewReader(first).Next(); err != nil || f.Type != wire.TypeWelcome {
		t.Fatalf("%v, %v; want Welcome", f.Type, err)
	}
	var opened int
	for end := time.Now().Add(15 * time.Second); s.Context().Err() == nil && time.Now().Before(end); {
		stream, err := s.Open(t.Context())
		if errors.Is(err, relay.ErrNoStreams) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			break
		}
		opened++
		_, _ = stream.Write(wire.AppendFrame(nil, wire.TypePing, uint64(opened), nil))
		stream.CancelWrite(relay.Cancelled)
		stream.CancelRead(relay.Cancelled)
	}
	if e, ok := errors.AsType[*relay.CloseError](context.Cause(s.Context())); !ok || e.Code != relay.RequestRate {
		t.Errorf("ended with %v after %d streams; want request_rate", e, opened)
	}
	mustPing(t, l)
	fill(t, l, 10, 10)
}
