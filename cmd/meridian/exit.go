package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/relay"
)

// Exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitConflict  = 3 // what is there does not allow it
	exitUnhealthy = 4 // the relay answers that it cannot serve
	exitUnknown   = 5 // the outcome of messages is unknown

	// Of a node, so that whoever starts it knows whether starting it again can help.
	exitInUse   = 20 // another process has the data folder
	exitForeign = 21 // the folder is another node's, another fleet's, of a newer version, or no store
	exitDamaged = 22 // what was read is not what was written
	exitDisk    = 23 // the disk refused to read, write or sync
	exitEmpty   = 24 // the folder is empty, and nothing says how to begin
)

// A usageError is about how a command was called.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// An unknownError is about messages whose outcome is unknown.
type unknownError struct{ error }

// exitCode says how a command ended.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, syscall.EPIPE) {
		return exitDone // who reads has read enough
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errBroken) {
		return exitBroken
	}
	if _, ok := errors.AsType[unknownError](err); ok {
		return exitUnknown
	}
	if code, ok := nodeExit(err); ok {
		return code
	}
	if errors.Is(err, errTired) || isUnhealthy(err) {
		return exitUnhealthy
	}
	if errors.Is(err, config.ErrExists) || errors.Is(err, pki.ErrExists) || isConflict(err) {
		return exitConflict
	}
	if e, ok := errors.AsType[*relay.Error](err); ok {
		switch e.End.Code {
		case relay.Conflict:
			return exitConflict
		case relay.Unavailable, relay.ReadOnly:
			return exitUnhealthy
		}
	}
	return exitFailed
}

// nodeExit says how a node ended that its store ended.
func nodeExit(err error) (int, bool) {
	for _, e := range []struct {
		err  error
		code int
	}{
		{store.ErrInUse, exitInUse}, {core.ErrEmpty, exitEmpty},
		{store.ErrForeign, exitForeign}, {store.ErrFleet, exitForeign},
		{store.ErrNode, exitForeign}, {store.ErrNewer, exitForeign},
		{store.ErrDamaged, exitDamaged}, {shard.ErrDamaged, exitDamaged}, {store.ErrDisk, exitDisk},
	} {
		if errors.Is(err, e.err) {
			return e.code, true
		}
	}
	return 0, false
}
