package client

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// fullJitter is the wait before the attempt after so many failures: uniform between 0 and
// least × 2^(failures-1), at most most ("Exponential Backoff And Jitter", AWS Architecture
// Blog, 2015). jitter is in [0, 1).
func fullJitter(least, most time.Duration, failures int, jitter float64) time.Duration {
	if failures <= 0 {
		return 0
	}
	bound := most
	if shift := failures - 1; shift < 20 && least<<shift < most {
		bound = least << shift
	}
	return time.Duration(jitter * float64(bound))
}

// retryDelay is how long to wait after a retryable end, the failures-th in a row.
func retryDelay(end relay.End, failures int, jitter float64) time.Duration {
	if end.RetryAfter > 0 {
		return end.RetryAfter + time.Duration(jitter*float64(end.RetryAfter)/4)
	}
	switch end.Code.Retry() {
	case relay.Again, relay.Elsewhere:
		return fullJitter(50*time.Millisecond, 5*time.Second, failures-1, jitter)
	default:
		return time.Second/2 + fullJitter(time.Second, 10*time.Second, failures, jitter)
	}
}
