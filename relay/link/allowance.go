package link

import "time"

// An allowance is a token bucket that begins full. Not for concurrent use.
type allowance struct {
	tokens float64
	last   time.Time
}

// take takes one token, and reports whether there was one.
func (a *allowance) take(perSecond, burst float64) bool {
	now := time.Now()
	if a.last.IsZero() {
		a.tokens = burst
	} else {
		a.tokens = min(a.tokens+now.Sub(a.last).Seconds()*perSecond, burst)
	}
	a.last = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}
