package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/meridian-relay/meridian/client"
	judge "github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
)

// A record is a log of what a command went through, for meridian check. nil: none is kept.
type record struct {
	*judge.Recorder
	file     *os.File
	producer string // names this process's calls
}

// recordFlag adds --log.
func recordFlag(flags *pflag.FlagSet) *string {
	return flags.String("log", "", "write what happens to this new file, for meridian check")
}

// newRecord creates the log; name empty: none.
func newRecord(file, name string) (*record, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	return &record{judge.NewRecorder(judge.RecorderConfig{Name: name, Out: f}), f, rand.Text()}, nil
}

// close makes the log durable, and returns the first error.
func (r *record) close() error {
	if r == nil {
		return nil
	}
	if err := cmp.Or(r.Err(), r.file.Sync(), r.file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", r.file.Name(), err)
	}
	return nil
}

// publish notes the n-th call.
func (r *record) publish(ch relay.Channel, n uint64, payload []byte) judge.Op {
	if r == nil {
		return 0
	}
	return r.Publish(judge.Publish{Channel: ch, Producer: r.producer, N: n, Payload: payload})
}

// answer notes a call's outcome.
func (r *record) answer(op judge.Op, at relay.Position, err error) {
	if r != nil {
		r.Answer(op, at, outcomeOf(err))
	}
}

// outcomeOf is the code that says most of err.
func outcomeOf(err error) relay.Code {
	if err == nil {
		return relay.Done
	}
	if errors.Is(err, client.ErrUnknownOutcome) {
		return relay.Unknown
	}
	if e, ok := errors.AsType[*relay.Error](err); ok {
		return e.End.Code
	}
	return relay.Cancelled
}

// subscribe notes that a subscription begins.
func (r *record) subscribe(ch relay.Channel, o client.SubscribeOptions) *judge.Subscriber {
	if r == nil {
		return nil
	}
	return r.Subscribe(relay.SubscribeRequest{Channel: ch, From: o.From, Mode: o.Mode, Limit: o.Limit, Barrier: o.Barrier})
}

// noteEvent notes what a subscription yielded.
func noteEvent(s *judge.Subscriber, e client.Event) {
	if s == nil {
		return
	}
	switch e := e.(type) {
	case *client.Subscribed:
		s.Frame(relay.Frame{Kind: relay.KindOK, At: e.At, Next: e.Head}, nil)
	case *client.Message:
		s.Frame(relay.Frame{Kind: relay.KindMessage, At: e.Position}, e.Payload)
	case *client.Gap:
		s.Frame(relay.Frame{Kind: relay.KindGap, At: e.After, Next: e.Next, Reason: e.Reason}, nil)
	case *client.Status:
		s.Frame(relay.Frame{Kind: relay.KindStatus, State: e.State}, nil)
	}
}

// noteEnd notes how a subscription ended. One that went up to its head has what that names, which
// its answer is held to; what was acknowledged while it read may be beyond.
func noteEnd(s *judge.Subscriber, err error) {
	if s == nil {
		return
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	s.Frame(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: outcomeOf(err)}}, nil)
}
