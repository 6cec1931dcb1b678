package core

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/campaign"
	checker "github.com/meridian-relay/meridian/internal/check"
)

// TestCampaignPower cuts the power of one node of three, of a majority and of all of them, again
// and again, under load: what was not synced is gone, or in part. MERIDIAN_SEED and MERIDIAN_FOR
// set where it begins and how long it takes.
func TestCampaignPower(t *testing.T) {
	seed, length := campaign.Settings(t, 0)
	for began := time.Now(); ; seed++ {
		x, v := powerCuts(t, seed, 5)
		mustHold(t, x, v)
		if t.Failed() || time.Since(began) >= length {
			return
		}
	}
}

// powerCuts judges a fleet after so many cuts.
func powerCuts(t *testing.T, seed uint64, cuts int) (x *witness, v *checker.Verdict) {
	t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, places("here", "here", "here"), nil)
		for _, b := range w.boxes { // so that there is something to lose
			b.disk.SlowSyncs(time.Duration(rng.IntN(20)) * time.Millisecond)
		}
		x = witnessed(w, "test", 8, seed)
		x.goesOn()
		for i := 0; i < cuts && !x.wrong(); i++ {
			boxes := make([]*box, 0, 3)
			for _, k := range rng.Perm(3)[:1+i%3] { // one, a majority, all
				boxes = append(boxes, w.boxes[k])
			}
			if rng.IntN(4) == 0 { // one that had ended in good order: its state stands at its log's end
				if l := boxes[0].alive(); l != nil {
					boxes[0].off(l)
				}
			}
			percent := []int{0, 30, 90}[rng.IntN(3)]
			t.Logf("cut %d of 3, %d %% of what was not synced stays", len(boxes), percent)
			w.cutPower(boxes, percent, rng)
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			w.restore(boxes)
			if rng.IntN(3) > 0 { // else the next cut finds a fleet that has not recovered
				x.goesOn()
			}
		}
		v = x.verdict()
	})
	if v == nil {
		t.FailNow()
	}
	return x, v
}
