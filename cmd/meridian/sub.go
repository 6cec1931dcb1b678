package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

type subOptions struct {
	from     string
	count    uint64
	head     bool // end there
	mode     string
	datagram bool
	log      *string
	output   *format
}

func newSub(a *app) *cobra.Command {
	var o subOptions
	cmd := &cobra.Command{
		Use:   "sub CHANNEL…",
		Short: "Subscribe to channels and print their messages",
		Long: `Subscribe to channels and print their messages, until --count messages are printed, or, with
--until-head, what was acknowledged before it began, or it is interrupted. Lost connections are
replaced, and no message is missed or printed twice.

As text, each message is its payload and a newline, with its channel before it where there are
several; what else happens goes to standard error. As JSON, each message is a line, and so is each
event.`,
		Example: `  meridian sub demo:numbers --from start --count 100000 -o json
  meridian sub demo:numbers --from start --until-head
  meridian sub demo:numbers --from 1767225600000:4711`,
		Args: needsChannel,
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "live", fromHelp)
	f.Uint64Var(&o.count, "count", 0, "end after so many messages; 0: never")
	f.BoolVar(&o.head, "until-head", false, "end after the newest message that was acknowledged before, of each channel")
	f.StringVar(&o.mode, "mode", "reliable", "reliable: every message; latest: the newest, or the newest of each key")
	f.BoolVar(&o.datagram, "datagram", false, "take messages by datagram where they fit, so that some get lost; with --mode latest")
	o.log = recordFlag(f)
	o.output = outputFlag(f)
	a.targetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options, err := o.client(args)
		if err != nil {
			return err
		}
		for _, channel := range args {
			if strings.HasSuffix(channel, "*") {
				fmt.Fprintf(a.err, "%q is one channel, of exactly that name; patterns are for tokens\n", channel)
			}
		}
		return a.subscribe(cmd.Context(), args, options, &o)
	}
	return cmd
}

// client returns the options of each subscription.
func (o *subOptions) client(channels []string) (s client.SubscribeOptions, err error) {
	for _, channel := range channels {
		if _, err := relay.ParseChannel(channel); err != nil {
			return s, usageError{err}
		}
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(channels))); len(unique) < len(channels) {
		return s, usagef("a channel is named twice; name each once")
	}
	switch o.mode {
	case "reliable":
	case "latest":
		s.Mode = relay.Latest
	default:
		return s, usagef("--mode %q: write reliable or latest", o.mode)
	}
	if o.datagram && s.Mode != relay.Latest {
		return s, usagef("--datagram: datagrams get lost, so it goes with --mode latest")
	}
	s.Datagram = o.datagram
	s.Own = len(channels) > 1
	if s.From, err = parseFrom(o.from); err != nil {
		return s, err
	}
	if o.head && s.From.Kind == relay.StartLive {
		return s, usagef("--until-head with --from live: that is nothing; write --from start, last:N, since:10m or EPOCH:SEQ")
	}
	if o.head {
		s.Limit, s.Barrier = relay.MaxNumber, true
	}
	return s, nil
}

// errEnough ends a subscription that printed what was asked for.
var errEnough = errors.New("enough")

// subscribe prints what comes, until there is enough or ctx ends.
func (a *app) subscribe(ctx context.Context, channels []string, options client.SubscribeOptions, o *subOptions) error {
	// Before any file is made: where the relay is away, the same command works later.
	conn, err := a.dial(ctx, "sub")
	if err != nil {
		return err
	}
	log, err := newRecord(*o.log, "sub")
	if err != nil {
		_ = conn.Close(ctx) // nothing was published
		return err
	}
	interrupted := ctx.Err
	ctx, cancel := context.WithCancelCause(ctx)
	p := newPrinter(a, *o.output, len(channels) > 1, o.count)

	var group sync.WaitGroup
	ended := make(chan error, len(channels))
	for _, channel := range channels {
		group.Go(func() {
			err := follow(ctx, conn, relay.Channel(channel), options, p, log, a.overdue(relay.Channel(channel)))
			if err != nil {
				cancel(err) // one that fails ends all
			}
			ended <- err
		})
	}
	group.Go(func() {
		for s := range conn.States(ctx) {
			if err := p.state(s); err != nil {
				cancel(err)
				return
			}
		}
	})
	for range channels {
		err = <-ended
		if err != nil {
			break
		}
	}
	cancel(err)
	group.Wait()
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer done()
	_ = conn.Close(closing) // nothing was published
	flushErr := cmp.Or(p.close(), log.close())
	if err == nil {
		return flushErr // every channel was printed up to its head
	}
	if cause := context.Cause(ctx); interrupted() == nil && !errors.Is(cause, errEnough) {
		return cause
	}
	return flushErr // an interrupt is how to end it
}

// follow prints one channel; nil: up to the head, where that is the end.
func follow(ctx context.Context, conn *client.Client, channel relay.Channel, options client.SubscribeOptions, p *printer, log *record, overdue *time.Timer) (err error) {
	defer overdue.Stop()
	logged := log.subscribe(channel, options)
	defer func() { noteEnd(logged, err) }()
	for e, err := range conn.Subscribe(ctx, channel, options) {
		overdue.Stop()
		if err != nil {
			return err
		}
		noteEvent(logged, e)
		if err := p.event(e); err != nil {
			return err
		}
	}
	if options.Limit > 0 {
		return nil
	}
	return fmt.Errorf("subscription to %s ended by itself", channel)
}
