package campaign

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A sham is a test of which only the end counts.
type sham struct {
	testing.TB
	said []string
	died bool
}

func (*sham) Helper()                      {}
func (s *sham) Logf(f string, args ...any) { s.said = append(s.said, fmt.Sprintf(f, args...)) }
func (s *sham) Fatalf(f string, args ...any) {
	s.Logf(f, args...)
	s.died = true
	runtime.Goexit()
}

func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		seed, length string
		wantSeed     uint64
		wantLong     time.Duration // -1: the test ends
		says         string
	}{
		{"", "", 1, time.Second, "MERIDIAN_SEED=1 MERIDIAN_FOR=1s"},
		{"7", "", 7, time.Second, "MERIDIAN_SEED=7"},
		{"18446744073709551615", "1h", 1<<64 - 1, time.Hour, "MERIDIAN_FOR=1h0m0s"},
		{"seven", "", 0, -1, `MERIDIAN_SEED="seven"`},
		{"-1", "", 0, -1, `MERIDIAN_SEED="-1"`},
		{"", "long", 0, -1, `MERIDIAN_FOR="long"`},
	} {
		t.Setenv("MERIDIAN_SEED", tc.seed)
		t.Setenv("MERIDIAN_FOR", tc.length)
		s := &sham{}
		var seed uint64
		long := time.Duration(-1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			seed, long = Settings(s, time.Second)
		}()
		<-done
		if seed != tc.wantSeed || long != tc.wantLong || s.died != (tc.wantLong < 0) || !strings.Contains(strings.Join(s.said, "\n"), tc.says) {
			t.Errorf("%q, %q: %d, %v, died %v, said %q", tc.seed, tc.length, seed, long, s.died, s.said)
		}
	}
}
