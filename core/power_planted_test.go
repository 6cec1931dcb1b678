//go:build planted

package core

import (
	"testing"

	"github.com/meridian-relay/meridian/internal/planted"
)

// TestPlanted: a fleet that acknowledges before the log is synced is found out by power cuts.
func TestPlanted(t *testing.T) {
	if !planted.Plant("ack-before-sync") {
		t.Fatal("there is no such bug")
	}
	defer planted.Plant("")
	for seed := range uint64(10) {
		if _, v := powerCuts(t, seed, 6); !v.OK() {
			t.Logf("seed %d: %s: %s", seed, v.Violations[0].Promise, v.Violations[0].What)
			return
		}
	}
	t.Error("nothing was lost in 10 runs")
}
