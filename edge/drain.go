package edge

import (
	"context"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// goAwayRate is how many sessions a second are asked to go, at least.
const goAwayRate = 100

// admission refuses new work while the edge drains.
func (e *Edge) admission() relay.End {
	if !e.draining.Load() {
		return relay.End{}
	}
	return relay.End{
		Code:   relay.GoingAway,
		Detail: "this edge is draining; connect to another",
		Hint:   relay.Hint{Alternatives: e.cfg.Alternatives},
	}
}

// Drain takes the edge out of service: it is no longer ready, refuses new sessions, asks every
// session to go elsewhere, and closes those that remain when Grace, or ctx, is over. The asking
// is spread over half of Grace, so that other edges are not overrun. It returns when no session
// is left; Run goes on.
func (e *Edge) Drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Grace)
	defer cancel()
	e.draining.Store(true)
	sessions := e.sessions.list()
	e.log.Info("draining", "sessions", len(sessions), "grace", e.cfg.Grace)

	end := time.Now().Add(e.cfg.Grace)
	batch, pause := pace(len(sessions), e.cfg.Grace)
	for i, s := range sessions {
		if i > 0 && i%batch == 0 && !sleep(ctx, pause) {
			break
		}
		if e.sessions.has(s) {
			s.GoAway(relay.GoingAway, max(0, time.Until(end)), e.cfg.Alternatives)
		}
	}
	select {
	case <-e.sessions.gone():
	case <-ctx.Done():
	}
	for _, s := range e.sessions.list() {
		s.Close(relay.GoingAway, "this edge has drained; connect to another")
	}
	<-e.sessions.gone()
}

// pace spreads n sessions over half of grace at most: so many at once, with a pause between.
func pace(n int, grace time.Duration) (batch int, pause time.Duration) {
	each := time.Second / goAwayRate
	if n > 0 {
		each = min(each, grace/2/time.Duration(n))
	}
	// A timer cannot be as fine as the pause between two of a hundred thousand sessions.
	const tick = 10 * time.Millisecond
	batch = 1
	if each < tick {
		batch = int(tick/max(each, 1)) + 1
	}
	return batch, each * time.Duration(batch)
}

// sleep reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
