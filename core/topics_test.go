package core

import (
	"testing"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// What wakes everybody for another reason does not hide a channel's birth: who is woken may read
// only after its first message came.
func TestAWakeForAnotherReasonHidesNoBirth(t *testing.T) {
	n, _ := start(t, single(t))
	await(t, n)
	const ch = relay.Channel(relaytest.Plain + ":born")
	woken := make(chan struct{}, 100)
	sub := n.Local().Subscribe(relay.SubscribeRequest{Channel: ch, Subject: "bob"}, func() { woken <- struct{}{} })
	defer sub.Close()
	<-woken
	if list := sub.Next(nil, 1<<20); len(list) != 1 || list[0].Kind != relay.KindOK {
		t.Fatalf("it begins with %+v", list)
	}
	p, _ := n.local.find(ch)
	n.local.interrupt(p, true)
	<-woken
	publish(t, n.Local(), numbered(ch, 1))
	messages := 0
	for _, f := range sub.Next(nil, 1<<20) {
		if f.Kind == relay.KindMessage {
			messages++
		}
	}
	if messages != 1 {
		t.Fatalf("%d messages, want the first", messages)
	}
}
