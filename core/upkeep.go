package core

import (
	"time"

	"github.com/meridian-relay/meridian/core/channel"
)

// upkeepEvery is how often retention and expiry are looked after, besides after every
// messagesAtOnce publishes.
const upkeepEvery = 100 * time.Millisecond

// Bounds of one round of upkeep, which holds the lock.
const (
	messagesAtOnce  = 1024
	producersAtOnce = 256
)

// upkeep applies retention and expiry in rounds: as many as keep pace with the publishes just
// applied, and some more. What is left is done next time, after the publishes that came.
func (b *Bare) upkeep() {
	rounds := 8 + 4*b.applied/messagesAtOnce
	b.applied = 0
	for range rounds {
		if !b.round() {
			b.behind = false
			return
		}
	}
	b.behind = true
	b.queue.notify()
}

// round does one round. It reports whether there may be more to do.
func (b *Bare) round() bool {
	now := b.cfg.Now()
	b.mu.RLock()
	steps := channel.Due(b.view, now, messagesAtOnce)
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batch.Begin(b.view, now)
	for _, s := range steps {
		b.batch.Apply(s)
	}
	expired := b.batch.Expire(producersAtOnce)
	b.batch.Commit()
	return len(steps) > 0 || expired == producersAtOnce
}
