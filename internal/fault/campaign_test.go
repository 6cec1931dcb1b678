package fault

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestCampaignDurable lets random faults strike a fleet of three nodes under load, in rounds, and
// judges each.
func TestCampaignDurable(t *testing.T) {
	seed, length := uint64(1), time.Duration(0)
	var err error
	if s := os.Getenv("MERIDIAN_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MERIDIAN_SEED=%q: %v", s, err)
		}
	}
	if s := os.Getenv("MERIDIAN_FOR"); s != "" {
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("MERIDIAN_FOR=%q: %v", s, err)
		}
	}
	t.Logf("MERIDIAN_SEED=%d MERIDIAN_FOR=%v", seed, length)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFleet(t, 3)
	begin := time.Now()
	for round := 0; round == 0 || time.Since(begin) < length && !t.Failed(); round++ {
		f.within("round "+strconv.Itoa(round), func(t *testing.T) {
			f.heal()
			l := newLoad(t, f, "round-"+strconv.Itoa(round), loadConfig{
				channels: 1 + rng.IntN(12), publishers: 1 + rng.IntN(3),
				rate: 50 + rng.IntN(400), bytes: 50 + rng.IntN(4000),
			})
			l.healthy()
			for range 1 + rng.IntN(5) {
				x := faults[rng.IntN(len(faults))]
				t.Logf("%v: %s", time.Since(begin).Round(time.Second), x.name)
				x.do(f, l, rng)
				if rng.IntN(3) > 0 { // else the next strikes a fleet that is hurt already
					f.heal()
					time.Sleep(pick(rng, 0, away))
				} else {
					f.start() // what asks for a leader needs a quorum of processes
				}
			}
			f.heal()
			l.healthy()
			l.judge()
		})
	}
}
