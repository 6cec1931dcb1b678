package core

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
)

func TestPublishThenSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := NewBare(BareConfig{Namespaces: map[relay.Namespace]channel.Policy{"demo": {}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.Run(ctx)
		woken := 0
		s := b.Subscribe(relay.SubscribeRequest{Channel: "demo:x"}, func() { woken++ })
		synctest.Wait()
		f := s.Next(nil, 1000)
		if len(f) != 1 || f[0].Kind != relay.KindOK || woken != 1 {
			t.Fatal(f, woken)
		}
		var at relay.Position
		b.Publish(relay.Publication{Channel: "demo:x", Body: []byte{10, 1, 'x'}}, func(p relay.Position, e relay.End) {
			at = p
			if e.Code != 0 {
				t.Error(e)
			}
		})
		synctest.Wait()
		f = s.Next(nil, 1000)
		if len(f) != 1 || f[0].Kind != relay.KindMessage || f[0].At != at || woken != 2 {
			t.Fatal(f, woken, at)
		}
	})
}
