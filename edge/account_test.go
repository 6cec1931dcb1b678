package edge

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// Who waits as long as asked gets through; who does not wait is refused, whatever the rate.
func TestAccountRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{scope: "subject", limits: Scope{Publishes: 10, Bytes: 1 << 20}}
		took := 0
		for range 100 {
			if a.publish(time.Now(), 1, 1).Code == relay.Done {
				took++
			}
		}
		if took != 10 {
			t.Errorf("%d of 100 at once; want 10", took)
		}
		begun := time.Now()
		for range 100 {
			end := a.publish(time.Now(), 1, 1)
			if end.Code != relay.PublishRate {
				t.Fatalf("%+v", end)
			}
			time.Sleep(end.RetryAfter)
			if end = a.publish(time.Now(), 1, 1); end.Code != relay.Done {
				t.Fatalf("after the wait: %+v", end)
			}
		}
		if took := time.Since(begun); took < 9900*time.Millisecond || took > 10200*time.Millisecond {
			t.Errorf("100 publishes at 10/s took %v", took)
		}
		// By bytes: a burst of one largest message, then the rate. What is refused costs nothing.
		b := &account{scope: "session", limits: Scope{Publishes: 1000, Bytes: 1000}}
		if end := b.publish(time.Now(), 1, wire.MaxMessage); end.Code != relay.Done {
			t.Errorf("the largest message: %+v", end)
		}
		for range 2000 {
			if end := b.publish(time.Now(), 1, 5000); end.Code != relay.ByteRate || end.RetryAfter.Round(time.Second) != 5*time.Second {
				t.Fatalf("5,000 bytes at 1,000/s: %+v", end)
			}
		}
		time.Sleep(5 * time.Second)
		if end := b.publish(time.Now(), 1, 5000); end.Code != relay.Done {
			t.Errorf("after 5 s: %+v", end)
		}
		// More at once than ever fits takes all that fits.
		time.Sleep(time.Hour)
		if end := b.publish(time.Now(), 5000, 1); end.Code != relay.Done {
			t.Errorf("5,000 publishes at once: %+v", end)
		}
		if end := b.publish(time.Now(), 1, 1); end.Code != relay.PublishRate {
			t.Errorf("after them: %+v", end)
		}
	})
}

// As many subscriptions as are allowed may come at once; opening and closing them in a loop is
// slowed down.
func TestAccountSubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{scope: "session", limits: Scope{Subscriptions: 50, Subscribes: 10}}
		for i := range 50 {
			if end := a.subscribe(time.Now()); end.Code != relay.Done {
				t.Fatalf("subscription %d: %+v", i, end)
			}
		}
		if end := a.subscribe(time.Now()); end.Code != relay.TooManySubscriptions || end.RetryAfter == 0 {
			t.Errorf("one too many: %+v", end)
		}
		a.unsubscribe()
		if end := a.subscribe(time.Now()); end.Code != relay.RequestRate || end.RetryAfter != 100*time.Millisecond {
			t.Errorf("the next one at once: %+v", end)
		}
		time.Sleep(100 * time.Millisecond)
		if end := a.subscribe(time.Now()); end.Code != relay.Done {
			t.Errorf("after the wait: %+v", end)
		}
	})
}

func TestAccountWithoutLimits(t *testing.T) {
	a := &account{limits: Scope{-1, -1, -1, -1, -1}}
	for range 20_000 {
		for _, end := range []relay.End{a.openSession(), a.subscribe(time.Now()), a.publish(time.Now(), 1, 1<<20)} {
			if end.Code != relay.Done {
				t.Fatalf("%+v", end)
			}
		}
	}
}

func TestAccountLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{limits: Scope{Sessions: 2, Subscriptions: 2, Subscribes: 100, Publishes: 1000, Bytes: 1 << 20}}
		for range 2 {
			a.openSession()
			a.subscribe(time.Now())
		}
		a.publish(time.Now(), 1000, 1)
		a.setLimits(Scope{Sessions: 1, Subscriptions: 3, Subscribes: 100, Publishes: 1, Bytes: 1 << 20})
		if end := a.openSession(); end.Code != relay.TooManySessions {
			t.Errorf("a third session of one: %+v", end)
		}
		if end := a.subscribe(time.Now()); end.Code != relay.Done {
			t.Errorf("a third subscription of three: %+v", end)
		}
		if end := a.publish(time.Now(), 1, 1); end.Code != relay.PublishRate || end.RetryAfter != time.Second {
			t.Errorf("at 1/s: %+v", end)
		}
		a.closeSession()
		a.closeSession()
		if end := a.openSession(); end.Code != relay.Done {
			t.Errorf("the only session: %+v", end)
		}
	})
}

// An account is one as long as it is used and a minute beyond, so that a peer that comes and
// goes keeps its allowance; then it is forgotten. Idle ones are bounded.
func TestBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("address", Scope{Publishes: 1, Bytes: 1 << 20})
		one, same := b.open("a"), b.open("a")
		if one != same {
			t.Fatal("two accounts for one key")
		}
		one.publish(time.Now(), 1, 1)
		b.release(one)
		time.Sleep(time.Hour)
		b.release(same)
		if b.open("a") != one {
			t.Error("forgotten at once")
		}
		time.Sleep(2 * idleFor)
		b.release(b.open("b"))
		if b.open("a") != one {
			t.Error("forgotten while in use")
		}
		b.release(one)
		b.release(one)
		time.Sleep(idleFor + time.Second)
		b.release(b.open("b"))
		if n := b.len(); n != 1 {
			t.Errorf("%d accounts a minute after the use of one; want 1", n)
		}
		if b.open("a") == one {
			t.Error("remembered for ever")
		}
		for i := range maxIdle + 1000 {
			b.release(b.open(fmt.Sprint(i)))
		}
		if n := b.len(); n != maxIdle+1 { // and "a", in use
			t.Errorf("%d accounts; want %d", n, maxIdle+1)
		}
	})
}

func TestBookConcurrently(t *testing.T) {
	b := newBook("subject", Scope{Sessions: 10})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 2000 {
				e := b.open(fmt.Sprint((g + i) % 5))
				if e.openSession().Code == relay.Done {
					e.closeSession()
				}
				b.release(e)
			}
		})
	}
	group.Wait()
	for _, e := range b.accounts {
		if e.uses != 0 || e.sessions != 0 {
			t.Errorf("account %+v after all have gone", e)
		}
	}
}

func TestAddressKey(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":         "192.0.2.1",
		"::ffff:192.0.2.1":  "192.0.2.1",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"2001:db8:1:2::":    "2001:db8:1:2::/64",
		"fe80::1%eth0":      "fe80::/64",
	} {
		if got := addressKey(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s; want %s", addr, got, want)
		}
	}
	if addressKey(netip.Addr{}) == "" {
		t.Error("no key for no address")
	}
}

func BenchmarkGatePublish(b *testing.B) {
	l, _ := Limits{}.resolved()
	accounts := []*account{{limits: l.Session}, {limits: l.Subject}, {limits: l.Address}}
	for _, a := range accounts {
		a.setLimits(Scope{1000, 1000, 1000, 1e9, 1e12})
	}
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		for _, a := range accounts {
			if a.publish(now, 1, 100).Code != relay.Done {
				b.Fatal("limited")
			}
		}
	}
}
