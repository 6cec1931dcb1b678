//go:build !planted

package shard_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/campaign"
)

// TestCampaignGroup runs the simulation, seed after seed. MERIDIAN_SEED and MERIDIAN_FOR set where
// it begins and how long it takes. A seed that fails is shrunk, and replays with MERIDIAN_SEED.
func TestCampaignGroup(t *testing.T) {
	seed, length := campaign.Settings(t, 3*time.Second)
	var total stats
	runs, few := 0, 0
	var simulated time.Duration
	begin := time.Now()
	for ; time.Since(begin) < length; seed++ {
		p := newPlan(seed)
		var o simResult
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			if o = run(t, p); len(o.found) == 0 {
				return
			}
			for _, f := range o.found {
				t.Error(f)
			}
			small := shrink(t, p, time.Minute)
			t.Logf("replays with MERIDIAN_SEED=%d; trace %016x\n%vshrunk to\n%v", seed, o.hash, p, small)
			for _, f := range run(t, small).found {
				t.Log(f)
			}
		})
		if t.Failed() {
			break
		}
		runs++
		simulated += o.took
		total.add(&o.stats)
		if o.stats.published < 300 || o.stats.elections < 3 || o.stats.crashes < 1 {
			few++
		}
	}
	took := time.Since(begin)
	t.Logf("%d runs up to seed %d in %v, %.0f a minute, %v simulated; %v", runs, seed-1, took.Round(time.Millisecond),
		float64(runs)/took.Minutes(), simulated.Round(time.Second), &total)
	if few > runs/10 {
		t.Errorf("%d of %d runs had fewer than 300 publishes, two changes of leader, or a crash", few, runs)
	}
}
