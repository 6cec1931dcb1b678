package core

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
)

// stages is a disk with one staging, and the mail that fails to fill it.
type stages struct {
	disk
	mail
	shard.Staging
	closed int
}

func (s *stages) Stage(shard.Replica, shard.Place) (shard.Staging, error) { return s, nil }

func (s *stages) Close() { s.closed++ }

func (s *stages) Fetch(ctx context.Context, _ *shard.Fetch, _ shard.Staging) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return errors.New("the leader has it no more")
}

// What is staged when the node ends stays, for after a restart; what failed does not.
func TestStagedStateOutlivesTheNode(t *testing.T) {
	s := new(stages)
	r := &runner{disk: s, mail: s, fetching: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
	if _, err := r.stage(t.Context(), &shard.Fetch{}); err == nil || s.closed != 1 {
		t.Errorf("a fetch that failed: %v, closed %d times", err, s.closed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := &endsMeanwhile{s, cancel}
	r.mail = end
	if _, err := r.stage(ctx, &shard.Fetch{}); err == nil || s.closed != 1 {
		t.Errorf("a fetch that the node's end cut: %v, closed %d times", err, s.closed)
	}
}

// endsMeanwhile is a mail whose node ends while it fetches.
type endsMeanwhile struct {
	*stages
	end context.CancelFunc
}

func (e *endsMeanwhile) Fetch(ctx context.Context, f *shard.Fetch, into shard.Staging) error {
	e.end()
	return e.stages.Fetch(ctx, f, into)
}
