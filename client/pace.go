package client

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const (
	leastWindow = 64      // messages in flight of a session that was refused for its rate
	firstWindow = 1024    // at most, after the first refusal: what was in flight says little
	mostWindow  = 1 << 16 // beyond it the window bounds nothing any more
	windowGrows = 16      // answers that let it grow by one
)

// A pace slows a session down whose publishes are refused because there are too many of them.
// The limits are the session's, over all channels, and each refusal sends a channel back to
// what was refused: without a common pause and a window, the repeats alone would be too many.
// It halves the window at a refusal and lets it grow by one for every few acknowledged (AIMD:
// Chiu and Jain, 1989). It is pure; not for concurrent use. The zero pace bounds nothing.
type pace struct {
	flight int       // sent, not answered
	window float64   // messages in flight at most; 0: no bound
	until  time.Time // nothing is sent before
}

// open reports whether one more may be sent.
func (p *pace) open(now time.Time) bool {
	return !now.Before(p.until) && (p.window == 0 || float64(p.flight) < p.window)
}

// answered takes the answer to one that was in flight. jitter is in [0, 1).
func (p *pace) answered(end relay.End, now time.Time, jitter float64) {
	flight := p.flight
	p.flight--
	switch end.Code {
	case relay.Done:
		if p.window > 0 {
			p.window += 1.0 / windowGrows
		}
		if p.window > mostWindow {
			p.window = 0
		}
	case relay.PublishRate, relay.ByteRate:
		if !now.Before(p.until) { // once for all that were in flight together
			p.window = max(leastWindow, min(float64(flight)/2, firstWindow))
		}
		if until := now.Add(retryDelay(end, 1, jitter)); until.After(p.until) {
			p.until = until
		}
	}
}
