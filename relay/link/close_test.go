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
