package link

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A body is used again only after its answer.
func TestBodiesAreLentUntilTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		var lent []relay.Publication
		var answers []func(relay.Position, relay.End)
		g.server.cfg.Upstream = upstreamFunc(func(p relay.Publication, answer func(relay.Position, relay.End)) error {
			lent, answers = append(lent, p), append(answers, answer)
			return nil
		})
		g.hello("all", 0, 0)
		letters := "abcdefgh"
		for i, c := range letters {
			g.write(publishFrame(uint64(i+1), "chat:a", message(strings.Repeat(string(c), 10_000))))
		}
		synctest.Wait()
		for i, c := range letters {
			if !strings.Contains(string(lent[i].Body), strings.Repeat(string(c), 10_000)) {
				t.Errorf("body %d was overwritten before its answer", i)
			}
		}
		for i, answer := range answers {
			answer(relay.Position{Epoch: 1, Seq: relay.Seq(i + 1)}, relay.End{})
		}
		for range letters {
			if f := g.next(); f.Type != wire.TypeOK {
				t.Errorf("got %v", f.Type)
			}
		}
		g.close()
	})
}

type upstreamFunc func(relay.Publication, func(relay.Position, relay.End)) error

func (f upstreamFunc) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	return f(p, answer)
}

func (f upstreamFunc) Subscribe(relay.SubscribeRequest, func()) relay.Subscription {
	panic("not asked")
}
