package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// held is a rereader that knows whether it is open.
type held struct {
	empty
	closed int
}

func (s *held) Forget() {}
func (s *held) Close()  { s.closed++ }

func TestKeptStatesAreBounded(t *testing.T) {
	k, now := &kept{}, time.Now()
	one := func() (*subscription, *held) { return &subscription{}, &held{empty: empty{memview.New()}} }
	open := func(want int) {
		t.Helper()
		if len(k.list) != want {
			t.Fatalf("%d states are kept, want %d", len(k.list), want)
		}
	}

	// One is the subscription's that put it, once.
	a, sa := one()
	b, sb := one()
	k.put(a, sa, now, now)
	k.put(b, sb, now.Add(-keptFor/2), now)
	open(2)
	if r, since := k.take(a); r != rereader(sa) || !since.Equal(now) {
		t.Fatalf("took %v of %v", r, since)
	}
	if r, _ := k.take(a); r != nil {
		t.Fatalf("took it twice")
	}
	k.put(a, sa, now, now)

	// Each is closed keptFor after it was opened, whenever it was put, and not before.
	k.expire(now.Add(keptFor/2 - 1))
	open(2)
	k.expire(now.Add(keptFor / 2))
	open(1)
	k.expire(now.Add(keptFor))
	open(0)
	late, old := one()
	k.put(late, old, now.Add(-keptFor), now)
	open(0)
	if sa.closed != 1 || sb.closed != 1 || old.closed != 1 {
		t.Fatalf("closed %d, %d, %d times, want each once", sa.closed, sb.closed, old.closed)
	}

	// Past keptMax, and at the end, none.
	for range keptMax {
		s, r := one()
		k.put(s, r, now, now)
	}
	more, past := one()
	k.put(more, past, now, now)
	open(keptMax)
	k.close()
	open(0)
	end, after := one()
	k.put(end, after, now, now)
	open(0)
	if past.closed != 1 || after.closed != 1 {
		t.Fatalf("closed %d, %d times, want each once", past.closed, after.closed)
	}
}

// What was committed behind a state that is kept is read from the next one, and wakes nobody.
func TestKeptStateIsNotTheLast(t *testing.T) {
	n, _ := start(t, single(t))
	await(t, n)
	const ch, size = relay.Channel(relaytest.Plain + ":kept"), 1 << 10
	number := 0
	publishOne := func() {
		number++
		p := numbered(ch, number)
		p.Body = relaytest.Body(fmt.Sprintf("%0*d", size, number), "")
		publish(t, n.Local(), p)
	}
	for range 20 {
		publishOne()
	}
	woken := make(chan struct{}, 100)
	sub := n.Local().Subscribe(relay.SubscribeRequest{Channel: ch, Subject: "bob", From: relay.Start{Kind: relay.StartFirst}},
		func() { woken <- struct{}{} })
	defer sub.Close()
	<-woken
	got := 0
	next := func(bytes int) (given int) {
		for _, f := range sub.Next(nil, bytes) {
			switch f.Kind {
			case relay.KindMessage:
				got++
				given += len(f.Body)
				if p := string(relaytest.Decode(t, f.Body).Payload); p != fmt.Sprintf("%0*d", size, got) {
					t.Fatalf("message %d is %.20s…", got, p)
				}
			case relay.KindOK:
			default:
				t.Fatalf("frame %+v", f)
			}
		}
		return given
	}
	next(8 * size)
	sub.Next(nil, 0)
	if !sub.(*subscription).keeps {
		t.Fatal("the state is not kept in the middle of a history")
	}
	publishOne()
	publishOne()
	for next(4*size) >= 4*size { // less than allowed: it waits now
	}
	if got != number {
		t.Fatalf("%d messages of %d, and then it waits", got, number)
	}
	select {
	case <-woken:
		t.Fatal("woken though nothing came since")
	default:
	}
	publishOne()
	<-woken
	next(4 * size)
	if got != number {
		t.Fatalf("%d messages of %d after it was woken", got, number)
	}
	if sub.Next(nil, 0); sub.(*subscription).keeps {
		t.Fatal("a state is kept though everything was read")
	}
}
