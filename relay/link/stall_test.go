package link

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A further stream that accepts nothing for 30 s, or that the peer stops reading, ends what is
// on it, and what was asked for on it; the session goes on.
func TestFurtherStreamLost(t *testing.T) {
	for name, stop := range map[string]bool{"accepts nothing": false, "is stopped": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := serve(t, 4096)
				g.hello("all", 4, 3)
				second, _ := g.client.Open(t.Context())
				b := wire.AppendProto(nil, wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Credit: 1 << 30})
				b = wire.AppendProto(b, wire.TypeSubscribe, 2, &wire.Subscribe{Channel: "chat:own", Own: true})
				b = wire.AppendProto(b, wire.TypeSubscribe, 3, &wire.Subscribe{Channel: "chat:idle"})
				_, _ = second.Write(b)
				synctest.Wait()
				if stop {
					second.CancelRead(relay.Cancelled)
				}
				g.home.sub("chat:a").messages(1000, 1000)
				time.Sleep(2 * stallAfter)
				synctest.Wait()
				for _, c := range []relay.Channel{"chat:a", "chat:own", "chat:idle"} {
					if !g.home.sub(c).isClosed() {
						t.Errorf("the subscription of %s outlived its stream", c)
					}
				}
				if g.gate.subs != 0 {
					t.Errorf("%d subscriptions still count", g.gate.subs)
				}
				g.write(wire.AppendFrame(nil, wire.TypePing, 1, nil))
				if f := g.next(); f.Type != wire.TypePong {
					t.Errorf("got %v; the session must go on", f.Type)
				}
				g.close()
			})
		})
	}
}
