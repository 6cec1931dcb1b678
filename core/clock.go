package core

import (
	"sync"
	"time"
)

// A steady clock follows the machine's, but never leaps: when that one steps forward, it runs half as
// fast again until it has caught up, and at half the pace when that one steps back. Producers are
// remembered for ten minutes by the time in the log, and repeat for five: a step ahead would have
// them forgotten while they still repeat, so that a message stood twice. A step back would have
// whatever waits for a time wait for as long as the step. Safe for concurrent use.
type steady struct {
	// read returns the machine's time, and a count of time that never steps.
	read func() (wall time.Time, passed time.Duration)

	mu     sync.Mutex
	begun  bool
	told   time.Time
	passed time.Duration // when it was told
}

func newSteady() *steady {
	start := time.Now()
	return &steady{read: func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start)
	}}
}

func (s *steady) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	wall, passed := s.read()
	if s.begun {
		d := passed - s.passed
		if most := s.told.Add(d * 3 / 2); wall.After(most) {
			wall = most
		}
		if least := s.told.Add(d / 2); wall.Before(least) {
			wall = least
		}
	}
	s.begun, s.told, s.passed = true, wall, passed
	return wall
}
