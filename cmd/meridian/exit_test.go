package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/relay"
)

func TestExitCode(t *testing.T) {
	end := func(c relay.Code) error { return relay.End{Code: c}.Err() }
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("broken"), 1},
		{end(relay.Forbidden), 1},
		{usagef("what?"), 2},
		{fmt.Errorf("publish: %w", end(relay.Conflict)), 3},
		{fmt.Errorf("add: %w", config.ErrExists), 3},
		{fmt.Errorf("publish: %w", end(relay.Unavailable)), 4},
		{end(relay.ReadOnly), 4},
		{&os.PathError{Op: "write", Path: "stdout", Err: syscall.EPIPE}, 0},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("exitCode(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}
