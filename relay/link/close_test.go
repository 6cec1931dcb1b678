package link

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A session may be closed at any moment: before its first stream, as it comes, and after.
// Under the race detector this fails where Close and Run share what nothing guards.
func TestCloseAsTheFirstStreamComes(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			c, s := newPipe(1 << 20)
			server := NewServer(ServeConfig{Session: s, Upstream: newFakeHome(), Gate: &fakeGate{}, Welcome: &wire.Welcome{}})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Run(ctx) }()
			go func() { _, _ = c.Open(t.Context()) }()
			go cancel()
			<-c.ctx.Done()
			if e, ok := errors.AsType[*relay.CloseError](context.Cause(c.ctx)); !ok || e.Code != relay.GoingAway {
				t.Errorf("closed with %v; want going_away", e)
			}
			<-ended
		})
	}
}

// A carrier that is closed may drop what has not arrived: the client gets time to read why, and
// need not use it up.
func TestEndArrivesBeforeTheClose(t *testing.T) {
	for name, hangUp := range map[string]bool{"a client that hangs up": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := serve(t, 1<<20)
				g.hello("all", 0, 0)
				began := time.Now()
				g.server.Close(relay.TokenExpired, "over")
				synctest.Wait()
				if g.client.ctx.Err() != nil {
					t.Fatal("closed before anybody can have read the End")
				}
				g.wantEnd(0, relay.TokenExpired)
				if hangUp {
					g.client.Close(relay.Cancelled, "")
				} else if e := closeError(g.client); e.Code != relay.TokenExpired || e.Reason != "over" {
					t.Errorf("closed with %v %q", e.Code, e.Reason)
				}
				<-g.ended
				if took := time.Since(began); hangUp != (took == 0) || took > closeWithin {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// Who does not hang up gains nothing by it: behind the End no request is carried out, on no
// stream, and no message comes.
func TestNothingBehindTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("short", 0, 3)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a"})
		second, _ := g.client.Open(t.Context())
		_, _ = second.Write(publishFrame(10, "chat:a", message("x")))
		synctest.Wait()
		time.Sleep(10*time.Second + closeWithin/2)
		g.wantEnd(0, relay.TokenExpired)
		g.write(publishFrame(2, "chat:a", message("x")))
		_, _ = second.Write(publishFrame(11, "chat:a", message("x")))
		g.send(wire.TypeSubscribe, 3, &wire.Subscribe{Channel: "chat:b"})
		g.send(wire.TypeRefresh, 4, &wire.Refresh{Token: "all"})
		g.home.sub("chat:a").messages(3, 100)
		synctest.Wait()
		if n := len(g.home.got); n != 1 || g.home.sub("chat:b") != nil {
			t.Errorf("%d publishes, want the one before; a new subscription: %v", n, g.home.sub("chat:b") != nil)
		}
		if n := g.unread(); n > 0 {
			f := g.next()
			t.Errorf("%d bytes behind the End; the first frame is %v of ref %d", n, f.Type, f.Ref)
		}
		if e := closeError(g.client); e.Code != relay.TokenExpired {
			t.Errorf("closed with %v", e.Code)
		}
		<-g.ended
	})
}
