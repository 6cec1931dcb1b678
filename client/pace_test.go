package client

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// TestPaceOfManyChannels: a client that publishes to many channels as fast as it can, over a
// session with a limit, gets what the limit allows, and its repeats are few. The relay ends a
// session with more than 20,000 requests a second that come to nothing.
func TestPaceOfManyChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const channels, perSecond, seconds = 20, 10_000, 10
		refused := map[int64]int{} // by second
		tokens, filled := float64(perSecond), time.Now()
		last := map[relay.Channel]uint64{}
		home := func(p relay.Publication) (relay.Position, relay.End) {
			now := time.Now()
			tokens = min(tokens+now.Sub(filled).Seconds()*perSecond, perSecond)
			filled = now
			switch {
			case tokens < 1:
				refused[now.Unix()]++
				return relay.Position{}, relay.End{Code: relay.PublishRate, RetryAfter: 100 * time.Millisecond}
			case p.N > last[p.Channel]+1:
				refused[now.Unix()]++ // the relay counts what is not published
				return relay.Position{}, relay.End{Code: relay.OutOfOrder}
			}
			tokens--
			last[p.Channel] = p.N
			return at(1, p.N), relay.End{}
		}
		var flight atomic.Int64
		net := &fakeNet{t: t, prepare: func(_ int, l *fakeLink) error {
			l.publish = func(p relay.Publication, answer func(relay.Position, relay.End)) error {
				if flight.Load() >= 8192 { // of 1 MiB, at 128 B each
					return relay.ErrBusy
				}
				flight.Add(1)
				pos, end := home(p)
				time.AfterFunc(time.Millisecond, func() { flight.Add(-1); answer(pos, end) })
				return nil
			}
			return nil
		}}
		c := net.client(Config{Unanswered: 64 << 20})
		var done atomic.Int64
		for i := range perSecond * seconds {
			ch := relay.Channel(fmt.Sprintf("demo:%d", i%channels))
			if err := c.PublishAsync(t.Context(), ch, Message{}, func(_ relay.Position, err error) {
				if err == nil {
					done.Add(1)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		pass(seconds * time.Second)
		if done.Load() < perSecond*seconds*8/10 {
			t.Errorf("%d messages in %d s; the limit allows %d", done.Load(), seconds, perSecond*(seconds+1))
		}
		for second, n := range refused {
			if n > 15_000 {
				t.Errorf("second %d: %d refused", second%100, n)
			}
		}
		t.Logf("%d done; refused each second: %v", done.Load(), refused)
	})
}

// TestRoomInDropsIsShared: where the session takes less than a turn at a time, every channel
// still comes.
func TestRoomInDropsIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var room atomic.Int64
		sent := map[relay.Channel]int{}
		net := &fakeNet{t: t, prepare: func(_ int, l *fakeLink) error {
			l.publish = func(p relay.Publication, answer func(relay.Position, relay.End)) error {
				if room.Load() == 0 {
					return relay.ErrBusy
				}
				room.Add(-1)
				sent[p.Channel]++
				time.AfterFunc(time.Millisecond, func() { answer(at(1, p.N), relay.End{}) })
				return nil
			}
			return nil
		}}
		c := net.client(Config{})
		for i := range 300 {
			ch := relay.Channel(fmt.Sprintf("demo:%d", i%3))
			_ = c.PublishAsync(t.Context(), ch, Message{}, func(relay.Position, error) {})
		}
		synctest.Wait()
		for range 15 {
			room.Store(10)
			pass(time.Second)
		}
		if len(sent) != 3 {
			t.Errorf("sent %v in 15 drops of 10; want every channel to come", sent)
		}
	})
}
