//go:build planted

package shard_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/planted"
)

// TestPlanted: every planted bug is found, within five minutes each, and what this build has
// without any is clean on the same seeds.
func TestPlanted(t *testing.T) {
	worst := uint64(0)
	for _, name := range planted.All() {
		found := false
		begin := time.Now()
		seed := uint64(1)
		for ; !found && time.Since(begin) < 5*time.Minute; seed++ {
			t.Run(name+"/"+strconv.FormatUint(seed, 10), func(t *testing.T) {
				if !planted.Plant(name) {
					t.Fatalf("there is no bug %q", name)
				}
				defer planted.Plant("")
				if o := run(t, newPlan(seed)); len(o.found) > 0 {
					found = true
					what := o.found[0]
					t.Logf("found: %.700s", what)
				}
			})
		}
		if !found {
			t.Errorf("%s was not found in %d runs", name, seed-1)
		}
		worst = max(worst, seed-1)
		t.Logf("%s: found with seed %d after %v", name, seed-1, time.Since(begin).Round(time.Millisecond))
	}
	for seed := range worst {
		t.Run("clean/"+strconv.FormatUint(seed+1, 10), func(t *testing.T) {
			for _, f := range run(t, newPlan(seed+1)).found {
				t.Error(f)
			}
		})
		if t.Failed() {
			break
		}
	}
}
