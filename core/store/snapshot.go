package store

import (
	"context"

	"github.com/meridian-relay/meridian/core/shard"
)

type snapshots struct{}

func (s *Store) closeSnapshots() {}

// Freeze implements shard.States.
func (s *Store) Freeze(r shard.Replica) (shard.Frozen, error) { return nil, shard.ErrBusy }

// Stage implements shard.States.
func (s *Store) Stage(r shard.Replica, at shard.Place) (shard.Staging, error) {
	return nil, shard.ErrBusy
}

func (s *Store) loadStaged() error { return nil }

func (s *Store) ingest(ctx context.Context, id shard.Replica, st shard.Staging) error { return nil }
