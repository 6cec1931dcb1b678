package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/internal/wan"
)

// TestCampaignNetwork lets a publisher and a subscriber run, in rounds of a channel each, over
// networks that change at random: each number arrives once, in order.
func TestCampaignNetwork(t *testing.T) {
	seed, length := campaign.Settings(t, 3*time.Second)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := startRelay(t)
	upward, upURL := r.path()
	downward, downURL := r.path()
	begin := time.Now()
	for round := 0; round == 0 || time.Since(begin) < length; round++ {
		n := 1000 + rng.IntN(20_000)
		rate := 500 + rng.IntN(8000)
		if rng.IntN(4) == 0 {
			rate = 0 // as fast as it can
		}
		from := []string{"start", "last:" + strconv.Itoa(n), "since:1h"}[rng.IntN(3)]
		channel := fmt.Sprintf("demo:round-%d", round)
		t.Logf("%v: round %d: %d numbers at %d/s, read from %s", time.Since(begin).Round(time.Second), round, n, rate, from)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		sub := r.start(ctx, nil, "sub", channel, "--from", from, "--count", strconv.Itoa(n), "--url", downURL, "-o", "json")
		if l, ok := sub.next(t, 60*time.Second); !ok || l.Event == "" {
			t.Fatalf("sub began with %+v, %v\n%s", l, ok, sub.stderr)
		}
		pub := r.start(ctx, seq(n), "pub", channel, "--lines", "--rate", strconv.Itoa(rate), "--url", upURL, "-o", "json")
		go func() {
			for range pub.lines {
			}
		}()
		changing, stop := context.WithCancel(ctx)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			var wg sync.WaitGroup
			for i, p := range []*wan.Path{upward, downward} {
				wg.Go(func() { change(changing, p, rand.New(rand.NewPCG(seed, uint64(2*round+i)))) })
			}
			wg.Wait()
		}()
		var got count
		for got.last < n {
			l, ok := sub.next(t, 60*time.Second)
			if !ok {
				t.Fatalf("sub ended after %d of %d\n%s", got.last, n, sub.stderr)
			}
			got.take(t, l)
		}
		stop()
		<-stopped
		pub.wait(t)
		sub.wait(t)
		cancel()
	}
}

// change changes a network at random for some seconds, and leaves it whole.
func change(ctx context.Context, p *wan.Path, rng *rand.Rand) {
	defer p.SetRoundTrip(0)
	for range 1 + rng.IntN(6) {
		switch rng.IntN(6) {
		case 0:
			p.Kill()
		case 1:
			p.Cut(wan.UDP, true)
		case 2:
			p.Cut(wan.TCP, true)
		case 3:
			lossy := wan.Way{Loss: 0.2 * rng.Float64(), Delay: time.Duration(rng.IntN(50)) * time.Millisecond}
			p.Set(wan.UDP, lossy, lossy)
		case 4:
			p.Set(wan.UDP, wan.Way{}, wan.Way{Cut: true})
		case 5:
			p.SetRoundTrip(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
		select {
		case <-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}
