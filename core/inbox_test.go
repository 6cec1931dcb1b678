package core

import (
	"testing"
	"testing/synctest"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/shard/shardtest"
)

// Who sends more entries than there is room for waits, and others do not; room, or the end, lets
// it go on. Nothing of it is dropped.
func TestInboxHoldsSendersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &inbox{signal: make(chan struct{}, 1)}
		send := func(times int) *int {
			sent := 0
			go func() {
				for range times {
					in.receive("b", []shard.Message{shardtest.Entries(1, inboxEntries/4)})
					sent++
				}
			}()
			synctest.Wait()
			return &sent
		}
		sent := send(7)
		if *sent != 3 {
			t.Fatalf("%d quarters found room", *sent)
		}
		in.receive("c", make([]shard.Message, 1)) // urgent: it does not wait
		for round, want := range []int{6, 7} {
			if e := in.take(events{}); len(e.received) < want-3*(round+1) {
				t.Errorf("%d taken", len(e.received))
			}
			if synctest.Wait(); *sent != want {
				t.Errorf("round %d: %d have gone, want %d", round, *sent, want)
			}
		}
		if in.dropped > 0 {
			t.Errorf("%d dropped", in.dropped)
		}
		sent = send(5)
		in.close()
		if synctest.Wait(); *sent != 5 {
			t.Errorf("%d of 5 have gone, though nobody takes any more", *sent)
		}
	})
}
