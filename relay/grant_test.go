package relay_test

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func TestGrantAllows(t *testing.T) {
	g := &relay.Grant{Capabilities: []relay.Capability{
		{Pattern: "chat:*", Actions: relay.ActSubscribe},
		{Pattern: "chat:lobby", Actions: relay.ActPublish},
		{Pattern: "logs:eu-*", Actions: relay.ActSubscribe | relay.ActHistory},
	}}
	const all = relay.ActSubscribe | relay.ActPublish | relay.ActHistory
	for _, c := range []struct {
		channel relay.Channel
		may     relay.Action
	}{
		{"chat:x", relay.ActSubscribe},
		{"chat:lobby", relay.ActSubscribe | relay.ActPublish}, // from two capabilities
		{"chats:x", 0},
		{"logs:eu-1", relay.ActSubscribe | relay.ActHistory},
		{"logs:us-1", 0},
	} {
		for a := relay.Action(1); a <= all; a++ {
			if got, want := g.Allows(a, c.channel), a&^c.may == 0; got != want {
				t.Errorf("%s: allows %b: %v", c.channel, a, got)
			}
		}
	}
	if (&relay.Grant{}).Allows(relay.ActSubscribe, "a:b") {
		t.Error("a grant of nothing allows")
	}
	if hop := (&relay.Grant{Hop: true}); !hop.Allows(all, "any:thing") {
		t.Error("a hop is refused")
	}
}

func TestNeeds(t *testing.T) {
	from := func(k relay.StartKind) relay.Start {
		return relay.Start{Kind: k, Count: 1, Since: time.Second}
	}
	for _, c := range []struct {
		r    relay.SubscribeRequest
		want relay.Action
	}{
		{relay.SubscribeRequest{}, relay.ActSubscribe},
		{relay.SubscribeRequest{From: from(relay.StartAfter)}, relay.ActSubscribe},
		{relay.SubscribeRequest{From: from(relay.StartLast)}, relay.ActSubscribe | relay.ActHistory},
		{relay.SubscribeRequest{From: from(relay.StartSince)}, relay.ActSubscribe | relay.ActHistory},
		{relay.SubscribeRequest{From: from(relay.StartFirst)}, relay.ActSubscribe | relay.ActHistory},
		{relay.SubscribeRequest{Limit: 1}, relay.ActHistory},
		{relay.SubscribeRequest{Limit: 1, From: from(relay.StartAfter)}, relay.ActHistory},
		{relay.SubscribeRequest{Limit: 1, From: from(relay.StartFirst)}, relay.ActHistory},
	} {
		if got := c.r.Needs(); got != c.want {
			t.Errorf("%+v needs %b, want %b", c.r, got, c.want)
		}
	}
}

func TestActions(t *testing.T) {
	for name, a := range relay.Actions {
		if a.String() != name {
			t.Errorf("%s prints as %v", name, a)
		}
	}
}
