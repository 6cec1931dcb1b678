package link

import (
	"bytes"
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// history returns a subscription that reads one, and put gives it message n of 1,000 bytes n.
func history() (s *subscription, put func(n int, b *burst)) {
	s = &subscription{window: 1 << 30, credit: 1 << 30, held: &held{}, wake: func() {}}
	return s, func(n int, b *burst) {
		s.put(relay.Frame{Kind: relay.KindMessage, At: relay.Position{Epoch: 1, Seq: relay.Seq(n)}, Body: filled(n)}, b)
	}
}

func filled(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 1000) }

// What Next returned stays as it is until the next call, whatever comes meanwhile, here and in
// other subscriptions; then its memory is used again.
func TestHeld(t *testing.T) {
	s, put := history()
	_, other := history()
	next := 1
	for n := range 400 {
		if put(n+1, nil); n%7 != 0 {
			continue
		}
		frames := s.Next(nil, 4000)
		for i := range 40 {
			put(n+1, nil)
			other(200+i, nil)
		}
		for _, fr := range frames {
			if !bytes.Equal(fr.Body, filled(int(fr.At.Seq))) {
				t.Fatalf("message %d changed while it was lent", fr.At.Seq)
			}
		}
		next += len(frames)
	}
	if next == 1 {
		t.Fatal("nothing was lent")
	}
}

// To hold a history costs no memory that has to be collected.
func TestHeldAllocatesNothing(t *testing.T) {
	h, b := &held{}, filled(1)
	turn := func() {
		for range 128 {
			h.keep(b)
		}
		h.take(128)
		h.back()
	}
	turn()
	if n := testing.AllocsPerRun(200, turn); n > 4 { // the race detector's pools forget some
		t.Errorf("%v allocations for 128 messages of 1 KB", n)
	}
}

// reads is a stream of so many reads; before each, turn is called.
type reads struct {
	relay.ReceiveStream
	turn func()
}

func (r *reads) Read([]byte) (int, error) { r.turn(); return 0, errors.New("over") }

// Who reads a history is woken once for what one read brought, and before the next one may wait.
func TestBurst(t *testing.T) {
	s, put := history()
	woken := 0
	s.armed, s.wake = true, func() { woken++ }
	b := &burst{in: &reads{turn: func() {
		if woken != 1 {
			t.Errorf("woken %d times before the next read; want once", woken)
		}
	}}}
	for n := range 10 {
		put(n, b)
	}
	if woken != 0 {
		t.Error("woken before all of a read was there")
	}
	_, _ = b.Read(nil)
	if _, _ = b.Read(nil); woken != 1 {
		t.Errorf("woken %d times; want once", woken)
	}
	if frames := s.Next(nil, 1<<20); len(frames) != 10 {
		t.Errorf("%d frames; want 10", len(frames))
	}
}

// Who waits for room in the backlog leaves nobody asleep meanwhile.
func TestBurstBeforeBacklog(t *testing.T) {
	l := &Link{subs: make(map[uint64]*subscription)}
	s, put := history()
	woken := false
	s.armed, s.wake = true, func() { woken = true }
	live := &subscription{link: l, window: -1, wake: func() {}}
	l.subs[1] = live
	l.backlog.most = 1 << 20
	b := &burst{}
	put(1, b)
	l.deliver(1, relay.Frame{Kind: relay.KindMessage, Body: filled(1)}, b)
	if !woken {
		t.Error("who reads a history waits behind who may wait for room")
	}
}
