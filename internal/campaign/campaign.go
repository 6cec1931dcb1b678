// Package campaign owns what a random test is told from outside: where its choices begin, and how
// long it goes on.
package campaign

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Settings returns the seed and the length of a random test, and logs them: MERIDIAN_SEED, or 1;
// MERIDIAN_FOR, or length, of which -short leaves a second at most. A value that says neither ends
// the test.
func Settings(t testing.TB, length time.Duration) (seed uint64, long time.Duration) {
	t.Helper()
	seed, long = 1, length
	if testing.Short() {
		long = min(long, time.Second)
	}
	var err error
	if s := os.Getenv("MERIDIAN_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MERIDIAN_SEED=%q is no seed: write a whole number from 0", s)
		}
	}
	if s := os.Getenv("MERIDIAN_FOR"); s != "" {
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatalf("MERIDIAN_FOR=%q is no length: write one like 90s or 1h", s)
		}
	}
	t.Logf("MERIDIAN_SEED=%d MERIDIAN_FOR=%v", seed, long)
	return seed, long
}
