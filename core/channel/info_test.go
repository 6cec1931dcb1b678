package channel_test

import (
	"slices"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

func TestInfo(t *testing.T) {
	v, b := memview.New(), channel.NewBatch()
	now := time.UnixMilli(1_800_000_000_000)
	b.Begin(v, now)
	if err := b.SetPolicy("demo", channel.Policy{}); err != nil {
		t.Fatal(err)
	}
	b.Own("demo", 0, relay.Slots-1)
	for i, ch := range []relay.Channel{"demo:b", "demo:a", "demo:ab", "demo:b"} {
		p := relay.Publication{Channel: ch, Subject: "s", Producer: relay.Producer{byte(i + 1)}, N: 1, Body: relaytest.Body("x", "")}
		if _, end := b.Publish(p); end.Code != relay.Done {
			t.Fatal(end.Err())
		}
	}
	b.Commit()

	i, ok := channel.Inspect(v, "demo:b")
	if !ok || i.At.Seq != 2 || i.First != (relay.Position{Epoch: i.At.Epoch, Seq: 1}) || i.Count != 2 || i.Bytes == 0 || !i.Used.Equal(now) {
		t.Errorf("demo:b: %+v, %v", i, ok)
	}
	if _, ok := channel.Inspect(v, "demo:c"); ok {
		t.Error("demo:c does not exist")
	}
	list := func(prefix string, after relay.Channel) (names []string) {
		for i := range channel.List(v, prefix, after) {
			names = append(names, string(i.Channel))
		}
		return names
	}
	for _, c := range []struct {
		prefix string
		after  relay.Channel
		want   []string
	}{
		{"", "", []string{"demo:a", "demo:ab", "demo:b"}},
		{"demo:a", "", []string{"demo:a", "demo:ab"}},
		{"demo:a", "demo:a", []string{"demo:ab"}},
		{"", "demo:ab", []string{"demo:b"}},
		{"demo:b", "demo:a", []string{"demo:b"}},
		{"demo:a", "demo:z", nil},
		{"x", "", nil},
	} {
		if got := list(c.prefix, c.after); !slices.Equal(got, c.want) {
			t.Errorf("list %q after %q: %q, want %q", c.prefix, c.after, got, c.want)
		}
	}
}
