package link

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

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
