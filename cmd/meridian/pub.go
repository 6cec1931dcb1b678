package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

// drainWithin is the longest that pub waits for answers after it was interrupted.
const drainWithin = 5 * time.Second

// slowest is the least rate, a message in twelve days; the time between messages must be one.
const slowest = 1e-6

type pubOptions struct {
	lines  bool
	file   string
	key    string
	id     string
	named  bool // an id was given
	rate   float64
	output *format
}

func newPub(a *app) *cobra.Command {
	var o pubOptions
	cmd := &cobra.Command{
		Use:   "pub CHANNEL [PAYLOAD…]",
		Short: "Publish messages and print their positions",
		Long: `Publish messages and print their positions, in the order published, as they are acknowledged.

Each PAYLOAD is a message. Without one, standard input (or --file) is one message, or with --lines
one for each line.`,
		Example: `  meridian pub demo:greetings hello
  seq 1 100000 | meridian pub demo:numbers --lines
  meridian pub demo:orders --file order.json --id order-4711`,
		Args: needsChannel,
	}
	f := cmd.Flags()
	f.BoolVar(&o.lines, "lines", false, "each line of the input is a message")
	f.StringVar(&o.file, "file", "", "read this file instead of standard input")
	f.StringVar(&o.key, "key", "", "key of the messages")
	f.StringVar(&o.id, "id", "", "publish once, however often this command is repeated with the same id")
	f.Float64Var(&o.rate, "rate", 0, "messages per second; 0: as fast as they are taken")
	o.output = outputFlag(f)
	a.targetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		channel, payloads := relay.Channel(args[0]), args[1:]
		o.named = cmd.Flags().Changed("id")
		if err := o.check(channel, payloads); err != nil {
			return err
		}
		source, err := o.source(a.in, payloads)
		if err != nil {
			return err
		}
		defer source.Close()
		return a.publish(cmd.Context(), channel, source, &o)
	}
	return cmd
}

func (o *pubOptions) check(channel relay.Channel, payloads []string) error {
	if _, err := relay.ParseChannel(string(channel)); err != nil {
		return usageError{err}
	}
	switch {
	case len(payloads) > 0 && (o.lines || o.file != ""):
		return usagef("payloads as arguments and --lines or --file: only one of them")
	case o.id != "" && (o.lines || len(payloads) > 1):
		return usagef("--id %q names one message, not several; publish them one by one, each with an id", o.id)
	case o.named && o.id == "":
		// Most likely a variable that is not set: without an id a repeat would be a second message.
		return usagef("--id is empty; write an id, or leave the flag out")
	case o.rate != 0 && !(o.rate >= slowest):
		return usagef("--rate %v: write messages per second, at least %v", o.rate, slowest)
	}
	return nil
}

// source returns where the payloads come from.
func (o *pubOptions) source(in io.Reader, payloads []string) (source, error) {
	if len(payloads) > 0 {
		return &words{payloads}, nil
	}
	name, file := "standard input", io.NopCloser(in)
	if o.file != "" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		name, file = o.file, f
	}
	if o.lines {
		return newLineSource(name, file), nil
	}
	return &whole{name: name, file: file}, nil
}

// publish sends what source has and prints where it stands.
func (a *app) publish(ctx context.Context, channel relay.Channel, source source, o *pubOptions) error {
	// The input is read on while an answer is awaited, and a signal ends the reading.
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	payloads := read(reading, source)

	conn, err := a.dial(ctx, "pub")
	if err != nil {
		return err
	}
	defer a.reportLosses(ctx, conn)()
	acks := newAcks(a.out, *o.output, a.overdue(channel), stop)
	err = send(reading, conn, channel, payloads, acks, o)

	// What was sent is answered before the end, unless that takes too long.
	closing, cancel := withGrace(reading, drainWithin)
	defer cancel()
	closeErr := conn.Close(closing)
	printed, ackErr := acks.close()
	switch {
	case closeErr != nil && ctx.Err() != nil:
		return fmt.Errorf("interrupted: %d messages acknowledged; %d got no answer within %v: they may stand or not",
			printed, acks.refused, drainWithin)
	case closeErr != nil:
		return fmt.Errorf("%d messages acknowledged; %w", printed, closeErr)
	case ackErr != nil:
		return ackErr
	case ctx.Err() != nil:
		fmt.Fprintf(a.err, "interrupted: %d messages acknowledged\n", printed)
		return nil
	}
	return err
}

// send publishes payloads in order until there are no more.
func send(ctx context.Context, conn *client.Client, channel relay.Channel, payloads <-chan payload, acks *acks, o *pubOptions) error {
	pace := newPace(o.rate)
	for {
		var p payload
		select {
		case p = <-payloads:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		switch {
		case p.err == io.EOF:
			return nil
		case p.err != nil:
			return p.err
		}
		if err := pace.wait(ctx); err != nil {
			return err
		}
		ack := acks.expect()
		answer := func(at relay.Position, err error) {
			if errors.Is(err, relay.End{Code: relay.Conflict}.Err()) && o.id != "" {
				err = fmt.Errorf("--id %q is another message's already: %w", o.id, err)
			}
			if err != nil && p.where != "" {
				err = fmt.Errorf("%s: %w", p.where, err)
			}
			acks.answer(ack, at, err)
		}
		message := client.Message{Payload: p.bytes, Key: o.key, ID: o.id}
		if err := conn.PublishAsync(ctx, channel, message, answer); err != nil {
			if ctx.Err() != nil { // it was not taken, and that is no fault of it
				acks.forget(ack)
				return context.Cause(ctx)
			}
			answer(relay.Position{}, err)
			return err
		}
	}
}

// withGrace returns a context that ends so long after ctx does.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	graced, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(graced, func() { t.Stop() })
	})
	return graced, func() {
		stop()
		cancel()
	}
}
