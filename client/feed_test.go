package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func messages(from, to uint64) (list []relay.Frame) {
	for n := from; n <= to; n++ {
		list = append(list, messageFrame(at(1, n)))
	}
	return list
}

func lastSeq(events []Event) (last relay.Seq, gaps int) {
	for _, e := range events {
		switch e := e.(type) {
		case *Message:
			last = e.Position.Seq
		case *Gap:
			gaps++
		}
	}
	return last, gaps
}

// TestSlowConsumerPullsNothing: what the consumer does not take stays with the session, which
// grants credit only for what was taken.
func TestSlowConsumerPullsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := relay.Frame{Kind: relay.KindMessage, Body: make([]byte, batch)}
		large.Body[0], large.Body[1], large.Body[2], large.Body[3] = 10, 0xfc, 0xff, 0 // a payload
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			l.script = []relay.Frame{okFrame(at(1, 0), at(1, 9))}
			for i := range 9 {
				m := large
				m.At = at(1, uint64(i+1))
				l.script = append(l.script, m)
			}
			return nil
		}}
		c := f.client(Config{Window: 12345})
		hold, taken := make(chan struct{}), 0
		go func() {
			for e, err := range c.Subscribe(t.Context(), "demo:x", SubscribeOptions{Limit: 9}) {
				if _, ok := e.(*Message); ok && err == nil {
					taken++
					<-hold
				}
			}
			close(hold)
		}()
		pass(time.Minute)
		s := f.link(0).sub(0)
		if s.options.Window != 12345 {
			t.Errorf("window %d; want the one configured", s.options.Window)
		}
		if s.bytes > batch || taken != 1 {
			t.Errorf("%d bytes were pulled for %d messages taken", s.bytes, taken)
		}
		for range 9 {
			hold <- struct{}{}
		}
		<-hold
		if taken != 9 || !s.closed {
			t.Errorf("%d messages; closed %v", taken, s.closed)
		}
	})
}

func TestFeedResumesAfterTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t, prepare: func(n int, l *fakeLink) error {
			if n == 0 {
				l.script = append([]relay.Frame{okFrame(at(1, 0), at(1, 9))}, messages(1, 5)...)
			} else {
				l.script = append([]relay.Frame{okFrame(at(1, 5), at(1, 9))}, messages(4, 9)...) // two too many
			}
			return nil
		}}
		c := f.client(Config{})
		events := follow(t, c, "demo:x", SubscribeOptions{From: relay.Start{Kind: relay.StartFirst}})
		f.link(0).end(errors.New("lost"))
		pass(time.Minute)
		want := relay.Start{Kind: relay.StartAfter, After: at(1, 5)}
		if r := f.link(1).sub(0).request; r.From != want {
			t.Errorf("resumed from %+v; want %+v", r.From, want)
		}
		var seqs []relay.Seq
		var kinds string
		for _, e := range *events {
			switch e := e.(type) {
			case *Subscribed:
				kinds += map[bool]string{false: "S", true: "R"}[e.Resumed]
			case *State:
				kinds += string(e.Phase[0])
			case *Message:
				seqs = append(seqs, e.Position.Seq)
			}
		}
		if kinds != "SrcR" {
			t.Errorf("events %q; want subscribed, reconnecting, connected, resumed", kinds)
		}
		if len(seqs) != 9 || seqs[8] != 9 {
			t.Errorf("messages %v; want 1 to 9", seqs)
		}
	})
}

// TestAnnouncedEndOpensTheSuccessorFirst: the old one serves until the new one stands.
func TestAnnouncedEndOpensTheSuccessorFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t}
		c := f.client(Config{})
		events := follow(t, c, "demo:x", SubscribeOptions{})
		l := f.link(0)
		old := l.sub(0)
		old.put(okFrame(at(1, 0), at(1, 0)))
		old.put(messageFrame(at(1, 1)))
		old.put(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.GoingAway, Deadline: time.Second}})
		synctest.Wait()
		succ := l.sub(1)
		old.put(messageFrame(at(1, 2)))
		synctest.Wait()
		if last, _ := lastSeq(*events); last != 2 || old.closed {
			t.Errorf("message %d is the last, closed %v: it serves until the successor stands", last, old.closed)
		}
		if succ.request.From.After != at(1, 1) {
			t.Errorf("successor from %+v", succ.request.From)
		}
		succ.put(okFrame(at(1, 1), at(1, 2)))
		succ.put(messageFrame(at(1, 2)))
		succ.put(messageFrame(at(1, 3)))
		synctest.Wait()
		if last, _ := lastSeq(*events); last != 3 || !old.closed || len(*events) != 5 {
			t.Errorf("message %d is the last of %d events, closed %v", last, len(*events), old.closed)
		}
	})
}

// TestRefusedSuccessorLeavesTheOneInUse: another edge may not know yet what this one knows.
func TestRefusedSuccessorLeavesTheOneInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t}
		c := f.client(Config{})
		events := follow(t, c, "demo:x", SubscribeOptions{})
		l := f.link(0)
		old := l.sub(0)
		old.put(okFrame(at(1, 0), at(1, 0)))
		old.put(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.GoingAway, Deadline: time.Minute}})
		synctest.Wait()
		refuse := func(i int) {
			l.sub(i).put(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.Forbidden}})
		}
		refuse(1)
		old.put(messageFrame(at(1, 1)))
		synctest.Wait()
		if last, _ := lastSeq(*events); last != 1 || old.closed {
			t.Errorf("message %d is the last, closed %v: it serves on", last, old.closed)
		}
		pass(20 * time.Second)
		succ := l.sub(2)
		succ.put(okFrame(at(1, 1), at(1, 1)))
		succ.put(messageFrame(at(1, 2)))
		synctest.Wait()
		if last, _ := lastSeq(*events); last != 2 || !old.closed {
			t.Errorf("message %d is the last, closed %v: the second successor stands", last, old.closed)
		}
	})
}

func TestFeedRetriesAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t}
		c := f.client(Config{})
		var got error
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range c.Subscribe(context.Background(), "demo:x", SubscribeOptions{}) {
				got = err
			}
		}()
		synctest.Wait()
		end := func(i int, code relay.Code, after time.Duration) {
			f.link(0).sub(i).put(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: code, RetryAfter: after}})
			synctest.Wait()
		}
		subs := func() int { l := f.link(0); l.mu.Lock(); defer l.mu.Unlock(); return len(l.subs) }
		end(0, relay.Busy, 10*time.Second)
		if pass(9 * time.Second); subs() != 1 {
			t.Error("did not wait as long as it was told")
		}
		if pass(5 * time.Second); subs() != 2 {
			t.Error("did not try again")
		}
		end(1, relay.Forbidden, 0)
		<-done
		if !errors.Is(got, relay.End{Code: relay.Forbidden}.Err()) {
			t.Errorf("ended with %v; want forbidden", got)
		}
	})
}

// TestFeedAsksAgainAfterAHole: a relay that skips is asked again, once.
func TestFeedAsksAgainAfterAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t}
		c := f.client(Config{})
		events := follow(t, c, "demo:x", SubscribeOptions{})
		s := f.link(0).sub(0)
		for _, fr := range []relay.Frame{okFrame(at(1, 0), at(1, 0)), messageFrame(at(1, 1)), messageFrame(at(1, 3))} {
			s.put(fr)
		}
		synctest.Wait()
		again := f.link(0).sub(1)
		if again.request.From.After != at(1, 1) || !s.closed {
			t.Errorf("asked again from %+v, closed %v", again.request.From, s.closed)
		}
		again.put(okFrame(at(1, 1), at(1, 3)))
		for _, fr := range messages(2, 3) {
			again.put(fr)
		}
		synctest.Wait()
		if last, _ := lastSeq(*events); last != 3 {
			t.Errorf("the last message is %d; want 3", last)
		}
	})
}

func TestSubscribeEndsWithItsContextAndItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{t: t}
		c := f.client(Config{})
		results := make(chan error, 2)
		ctx, cancel := context.WithCancelCause(context.Background())
		for _, ctx := range []context.Context{ctx, context.Background()} {
			go func() {
				for _, err := range c.Subscribe(ctx, "demo:x", SubscribeOptions{}) {
					if err != nil {
						results <- err
					}
				}
			}()
		}
		synctest.Wait()
		cause := errors.New("enough")
		cancel(cause)
		if err := <-results; !errors.Is(err, cause) {
			t.Errorf("ended with %v; want the context's cause", err)
		}
		_ = c.Close(context.Background())
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("ended with %v; want ErrClosed", err)
		}
		synctest.Wait()
		if len(c.feeds) != 0 {
			t.Errorf("%d subscriptions stay", len(c.feeds))
		}
	})
}
