package client

import (
	"errors"

	"github.com/meridian-relay/meridian/relay"
)

var (
	// ErrClosed is returned by everything once Close was called.
	ErrClosed = errors.New("client closed")
	// ErrUnknownOutcome stands in the error of a publish that was sent and whose answer can no
	// longer be had: the message may stand or not. Publishing it again with Message.ID given
	// the first time would have been safe; without, it may make a second message.
	ErrUnknownOutcome = errors.New("outcome unknown: the message may stand or not")
	// ErrBroken ends a subscription whose relay skipped messages twice without saying so.
	ErrBroken = errors.New("the relay skipped messages without a gap")
)

// codeOf returns the code that err carries: of a refusal, or of a session's end.
func codeOf(err error) (relay.End, bool) {
	if e, ok := errors.AsType[*relay.Error](err); ok {
		return e.End, true
	}
	if e, ok := errors.AsType[*relay.CloseError](err); ok {
		return relay.End{Code: e.Code, Detail: e.Reason}, true
	}
	return relay.End{}, false
}
