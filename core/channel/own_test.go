package channel_test

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// TestPins: a pin goes before the slot, for publishers and readers, in the batch that makes it
// and later, until it is taken away.
func TestPins(t *testing.T) {
	view, b := memview.New(), channel.NewBatch()
	begin := func() { b.Begin(view, time.Unix(1000, 0)) }
	begin()
	for _, ns := range []relay.Namespace{"mine", "theirs"} {
		if err := b.SetPolicy(ns, channel.Policy{}); err != nil {
			t.Fatal(err)
		}
	}
	b.Own("mine", 0, relay.Slots-1)
	b.Commit()
	want := func(ch relay.Channel, code relay.Code, hint string) {
		t.Helper()
		_, end := b.Publish(relay.Publication{Channel: ch, Body: relaytest.Body("x", "")})
		if end.Code != code || end.Hint.Shard != hint {
			t.Errorf("publish to %s: %v %q, want %v %q", ch, end.Code, end.Hint.Shard, code, hint)
		}
		_, f := channel.Open(view, &relay.SubscribeRequest{Channel: ch}, time.Unix(1000, 0))
		if code == relay.Done && f.Kind != relay.KindOK || code != relay.Done && (f.End == nil || f.End.Hint.Shard != hint) {
			t.Errorf("subscribe to %s: %+v", ch, f)
		}
	}
	steps := []struct {
		do           func(relay.Channel) error
		mine, theirs relay.Code
		hint         string
	}{
		{b.Pin, relay.Done, relay.Done, ""},
		{func(ch relay.Channel) error { return b.PinElse(ch, "s9") }, relay.Moved, relay.Moved, "s9"},
		{b.Unpin, relay.Done, relay.Moved, ""},
		{b.Unpin, relay.Done, relay.Moved, ""},
	}
	for _, s := range steps {
		begin()
		for _, ch := range []relay.Channel{"mine:a", "theirs:a"} {
			if err := s.do(ch); err != nil {
				t.Fatal(err)
			}
		}
		want("mine:a", s.mine, s.hint)
		want("theirs:a", s.theirs, s.hint)
		want("mine:b", relay.Done, "")
		b.Commit()
		begin()
		want("theirs:a", s.theirs, s.hint)
		b.Commit()
	}
	begin()
	if b.Pin("nothing") == nil {
		t.Error("a name that is none was pinned")
	}
}
