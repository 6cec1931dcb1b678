package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/wan"
)

// seq is what seq(1) prints: 1 to n, a line each.
func seq(n int) io.Reader {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return strings.NewReader(b.String())
}

// A count checks that numbers come once each, in order.
type count struct {
	last  int
	epoch uint64
}

// take takes a line of sub; it reports whether it was a message.
func (c *count) take(t *testing.T, l line) bool {
	t.Helper()
	if l.Event == "gap" {
		t.Fatalf("a gap after %d: %+v", c.last, l)
	}
	if l.Event != "" {
		return false
	}
	n, err := strconv.Atoi(l.Payload)
	if err != nil || n != c.last+1 || l.Seq != uint64(n) {
		t.Fatalf("after %d came %q at seq %d", c.last, l.Payload, l.Seq)
	}
	if c.epoch != 0 && l.Epoch != c.epoch {
		t.Fatalf("number %d is in epoch %d, those before are in %d", n, l.Epoch, c.epoch)
	}
	c.last, c.epoch = n, l.Epoch
	return true
}

// TestPublisherIsKilledAgainAndAgain publishes 100,000 numbers over a network that fails in
// every way there is, while a subscriber elsewhere reads from the start: each number once, in
// order, and each acknowledged once.
func TestPublisherIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	const n = 100_000
	r := startRelay(t)
	path, url := r.path()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	pub := r.start(ctx, seq(n), "pub", "demo:numbers", "--lines", "--rate", "6000", "--url", url, "-o", "json")
	sub := r.start(ctx, nil, "sub", "demo:numbers", "--from", "start", "--count", strconv.Itoa(n), "-o", "json")

	failing, stop := context.WithCancel(ctx)
	failed := make(chan int, 1)
	go func() { failed <- fail(failing, path) }()

	acked := make(chan int, 1)
	go func() {
		last := 0
		for l := range pub.lines {
			if l.Seq != uint64(last)+1 {
				t.Errorf("publish %d was answered with seq %d", last+1, l.Seq)
			}
			last = int(l.Seq)
		}
		stop()
		acked <- last
	}()
	var got count
	for got.last < n {
		l, ok := sub.next(t, 60*time.Second)
		if !ok {
			t.Fatalf("sub ended after %d\n%s", got.last, sub.stderr)
		}
		got.take(t, l)
	}
	if last := <-acked; last != n {
		t.Errorf("%d of %d publishes acknowledged", last, n)
	}
	pub.wait(t)
	sub.wait(t)
	if times := <-failed; times < 5 {
		t.Errorf("the network failed %d times only: the test shows little", times)
	} else {
		t.Logf("the network failed %d times", times)
	}
}

// fail has a network fail until ctx is done, and returns how many times it did: UDP cut for a
// while, a new port of the NAT, UDP gone for good, and then TCP reset again and again.
func fail(ctx context.Context, p *wan.Path) (times int) {
	wait := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return ctx.Err() == nil
		case <-ctx.Done():
			return false
		}
	}
	for range 2 {
		if !wait(time.Second) {
			return times
		}
		p.Cut(wan.UDP, true)
		times++
		if !wait(time.Second) {
			p.Cut(wan.UDP, false)
			return times
		}
		p.Cut(wan.UDP, false)
		if !wait(500 * time.Millisecond) {
			return times
		}
		times += p.Kill()
	}
	p.Cut(wan.UDP, true) // for good: it goes on over WebSocket
	times++
	for p.Stats().Conns == 0 {
		if !wait(50 * time.Millisecond) {
			return times
		}
	}
	for wait(700 * time.Millisecond) {
		times += p.Kill()
	}
	return times
}

// TestSubscriberIsKilledAndGoesOn kills the subscriber with SIGKILL again and again and starts
// it anew after the last line that it printed.
func TestSubscriberIsKilledAndGoesOn(t *testing.T) {
	t.Parallel()
	const n = 20_000
	r := startRelay(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	pub := r.start(ctx, seq(n), "pub", "demo:numbers", "--lines", "--rate", "4000", "-o", "json")
	go func() {
		for range pub.lines { // read, so that it goes on
		}
	}()
	rng := rand.New(rand.NewPCG(1, 0))
	var got count
	from, kills := "start", 0
	for got.last < n {
		life, kill := context.WithCancel(ctx)
		sub := r.start(life, nil, "sub", "demo:numbers", "--from", from, "--count", strconv.Itoa(n-got.last), "-o", "json")
		until := got.last + 1 + rng.IntN(3000)
		for got.last < n {
			l, ok := sub.next(t, 30*time.Second)
			if !ok {
				t.Fatalf("sub ended after %d\n%s", got.last, sub.stderr)
			}
			if got.take(t, l) && got.last == until {
				kill()
				kills++
				break
			}
		}
		for l := range sub.lines { // what it printed before it died counts
			got.take(t, l)
		}
		kill()
		<-sub.ended
		from = fmt.Sprintf("%d:%d", got.epoch, got.last)
	}
	if kills < 5 {
		t.Errorf("%d kills only: the test shows little", kills)
	}
	pub.wait(t)
}

// TestUDPBlockedInMidFlow blocks UDP for publisher and subscriber while messages flow: both go
// on over WebSocket within 10 s, and nothing is missing.
func TestUDPBlockedInMidFlow(t *testing.T) {
	t.Parallel()
	const n, blockAt = 3000, 500
	r := startRelay(t)
	path, url := r.path()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sub := r.start(ctx, nil, "sub", "demo:numbers", "--from", "start", "--count", strconv.Itoa(n), "--url", url, "-o", "json")
	pub := r.start(ctx, seq(n), "pub", "demo:numbers", "--lines", "--rate", "300", "--url", url, "-o", "json")
	go func() {
		for range pub.lines {
		}
	}()
	var got count
	var blocked, last time.Time
	var longest time.Duration
	for got.last < n {
		l, ok := sub.next(t, 30*time.Second)
		if !ok {
			t.Fatalf("sub ended after %d\n%s", got.last, sub.stderr)
		}
		if !got.take(t, l) {
			continue
		}
		if got.last == blockAt {
			if s := path.Stats(); s.Flows == 0 {
				t.Fatalf("no UDP before the block: %+v", s)
			}
			path.Cut(wan.UDP, true)
			blocked, last = time.Now(), time.Now()
		}
		if !blocked.IsZero() {
			longest = max(longest, time.Since(last))
			last = time.Now()
		}
	}
	t.Logf("the longest wait for a message was %v", longest)
	if longest > 10*time.Second {
		t.Errorf("%v without a message after UDP was blocked, want 10 s at most", longest)
	}
	if longest < time.Second {
		t.Errorf("only %v without a message: was UDP in use?", longest)
	}
	pub.wait(t)
	sub.wait(t)
}
