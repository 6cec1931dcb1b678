package core

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A replica is what a node knows of one of its shards' copies. It is a source.
type replica struct {
	// Set at construction.
	id    shard.Replica
	local *Local

	// view is what the last Event said; nil: nothing yet.
	view atomic.Pointer[shard.Event]

	// memory holds the messages of an ephemeral shard that is led here; nil otherwise.
	memory atomic.Pointer[Bare]

	// settled: the first leader has raised the floor. Before that, positions would be of no epoch
	// that messages get.
	settled atomic.Bool

	// Owned by the runner.
	leaderless time.Time // since when no leader is known; zero: one is
	stopMemory func()
	raising    bool // the floor, before a memory begins

	// Guarded by local.topics.mu.
	lost  bool
	ended *relay.End
}

var _ source = (*replica)(nil)

// read implements source. What does not stand anywhere is no state: a replica whose first one is
// still being written, or that is removed.
func (r *replica) read() shard.Reader {
	v := r.local.states.Read(r.id, false)
	if _, ok := shard.ReadApplied(v); !ok && v.Err() == nil {
		return absent{v}
	}
	if !r.settled.Load() {
		if floor(v) == 0 && v.Err() == nil {
			return absent{v}
		}
		r.settled.Store(true)
	}
	return v
}

// begun reports whether the first leader has raised the floor. Publishes do not come before: they
// would get epochs that an earlier fleet has given, and replicas begun with other settings would
// judge them differently.
func (r *replica) begun() bool {
	if r.settled.Load() {
		return true
	}
	v := r.read()
	defer v.Close()
	return !errors.Is(v.Err(), shard.ErrNoReplica)
}

// floor reads a state's; what is damaged is told where it is read on.
func floor(v shard.Reader) (f relay.Epoch) {
	var err error
	defer func() {
		if err != nil {
			f = 1
		}
	}()
	defer mend(&err)
	return channel.Floor(v)
}

// absent reads a state that is not there.
type absent struct{ shard.Reader }

func (absent) Err() error { return shard.ErrNoReplica }

func (r *replica) lends() bool    { return true }
func (r *replica) now() time.Time { return r.local.clock() }

func (r *replica) standing() (lost bool, end *relay.End) { return r.lost, r.ended }

// failed ends the process, unless the replica is merely gone.
func (r *replica) failed(err error) {
	if !errors.Is(err, shard.ErrNoReplica) {
		r.local.fail(fmt.Errorf("read %v: %w", r.id, err))
	}
}

// barrier implements source. A follower asks its leader, which asks a quorum.
func (r *replica) barrier(done func(relay.End)) bool {
	r.local.ask(func(h *shard.Host) { h.Barrier(r.id.Shard, done) }, func() { done(stopping) })
	return true
}

// stopping is the End of what waits when the node stops.
var stopping = relay.End{Code: relay.Unavailable, Detail: "the node is shutting down"}

// leader returns the node that leads, as far as is known.
func (r *replica) leader() (shard.Node, bool) {
	v := r.view.Load()
	if v == nil || v.Descriptor == nil || v.Leader == 0 {
		return "", false
	}
	m := v.Descriptor.Member(v.Leader)
	if m == nil {
		return "", false
	}
	return m.Node, true
}

// leads reports whether this replica leads and serves.
func (r *replica) leads() bool {
	v := r.view.Load()
	return v != nil && v.Role == shard.Leading
}

// won reports whether this replica was elected; it may not serve yet.
func (r *replica) won() bool {
	v := r.view.Load()
	return v != nil && v.Role != shard.Following
}

// class returns the shard's; 0: not known yet.
func (r *replica) class() shard.Class {
	if v := r.view.Load(); v != nil && v.Descriptor != nil {
		return v.Descriptor.Class
	}
	return 0
}

// moved is the answer of one that cannot serve: it names who leads, or else where members are.
func (r *replica) moved(why string) relay.End {
	end := relay.End{Code: relay.Moved, Detail: why, Hint: relay.Hint{Shard: r.id.Shard.String()}}
	if leader, ok := r.leader(); ok && leader != r.local.node {
		end.Hint.Alternatives = []string{string(leader)}
		return end
	}
	return relay.End{
		Code: relay.Unavailable, RetryAfter: relay.BusyRetry,
		Detail: why + "; no leader is known for now", Hint: end.Hint,
	}
}
