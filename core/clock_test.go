package core

import (
	"testing"
	"time"
)

func TestSteadyClock(t *testing.T) {
	begin := time.UnixMilli(1_800_000_000_000)
	var passed, step time.Duration
	s := &steady{read: func() (time.Time, time.Duration) { return begin.Add(passed + step), passed }}
	at := func(p, st time.Duration) time.Duration {
		passed, step = p, st
		return s.now().Sub(begin)
	}
	for _, c := range []struct{ passed, step, want time.Duration }{
		{0, 0, 0},
		{time.Minute, 0, time.Minute},
		{2 * time.Minute, time.Hour, 2*time.Minute + 30*time.Second}, // half as fast again
		{12 * time.Minute, time.Hour, 17*time.Minute + 30*time.Second},
		{3 * time.Hour, time.Hour, 4 * time.Hour}, // it has caught up
		{3 * time.Hour, 0, 4 * time.Hour},         // it never goes back
		{4 * time.Hour, 0, 4*time.Hour + 30*time.Minute},
		{6 * time.Hour, time.Minute, 6*time.Hour + time.Minute},
	} {
		if got := at(c.passed, c.step); got != c.want {
			t.Errorf("after %v, with a step of %v: %v, want %v", c.passed, c.step, got, c.want)
		}
	}
}
