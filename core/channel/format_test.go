package channel_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// TestFormat holds the bytes of keys and values, which a store keeps, to testdata/format.txt. A
// change of the format needs a new version, not -update.
func TestFormat(t *testing.T) {
	view, b := memview.New(), channel.NewBatch()
	b.Begin(view, time.UnixMilli(1_700_000_000_000))
	for ns, p := range map[relay.Namespace]channel.Policy{"chat": {Count: 5}, "state": {Keyed: true}} {
		if err := b.SetPolicy(ns, p); err != nil {
			t.Fatal(err)
		}
	}
	b.Own("chat", 0, relay.Slots-1)
	b.Disown("chat", 7, 7, "s2")
	b.Own("state", 0, relay.Slots-1)
	for _, err := range []error{b.Pin("room:a"), b.PinElse("room:b", "s3"), b.PinElse("chat:z", "s4"), b.Unpin("chat:z")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Raise(41, false)
	for n := range uint64(20) {
		p := relay.Publication{Channel: "chat:a", Subject: "alice", Producer: relay.Producer{1, 2, 3}, N: n + 1}
		if p.Void = n == 2; !p.Void {
			p.Body = relaytest.Body(fmt.Sprint(n), "")
		}
		b.Publish(p)
	}
	b.Publish(relay.Publication{Channel: "state:b", Body: relaytest.Body("on", "lamp")})
	b.Raise(50, true)
	b.Publish(relay.Publication{Channel: "state:b", Body: relaytest.Body("off", "")})
	if err := b.SetPolicy("chat", channel.Policy{Count: 6}); err != nil {
		t.Fatal(err)
	}
	b.Commit()
	var out strings.Builder
	for k, v := range view.Ascend(nil, []byte{0xff}) {
		fmt.Fprintf(&out, "%x\n\t%x\n", k, v)
	}
	const file = "testdata/format.txt"
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Error(diff(string(want), out.String()))
	}
}
