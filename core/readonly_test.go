package core

import (
	"testing"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// While the disk is nearly full publishes are refused, what stands is read, and then they are
// taken again.
func TestReadOnly(t *testing.T) {
	n, _ := start(t, single(t))
	await(t, n)
	u, ch := n.Local(), relay.Channel(relaytest.Plain+":x")
	publish(t, u, numbered(ch, 1))
	n.readOnly(true)
	ended := make(chan relay.End, 1)
	if err := u.Publish(numbered(ch, 2), func(_ relay.Position, end relay.End) { ended <- end }); err != nil {
		t.Fatal(err)
	}
	if end := <-ended; end.Code != relay.ReadOnly || end.RetryAfter == 0 {
		t.Errorf("a publish on a full disk: %+v", end)
	}
	want(t, u, ch, 1)
	n.readOnly(false)
	publish(t, u, numbered(ch, 2))
	want(t, u, ch, 2)
}
