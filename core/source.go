package core

import (
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A source is the state that a subscription reads. Implementations: Bare, and a replica's.
type source interface {
	// read opens the state as it stands. Whoever calls closes it.
	read() shard.Reader
	// lends reports whether what a Reader lent is gone with it.
	lends() bool
	// standing reports whether the way to the home is interrupted, and, if nothing more will
	// come, why. The caller holds topics.mu.
	standing() (lost bool, end *relay.End)
	// barrier has done called once, when the state has everything that was acknowledged before,
	// or with why not, and not from inside; false: it has that already, and done is not called.
	barrier(done func(relay.End)) bool
	// failed is told what went wrong with a Reader.
	failed(err error)
	now() time.Time
}

var (
	_ source = (*Bare)(nil)
)
