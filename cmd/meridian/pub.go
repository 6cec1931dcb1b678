package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
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
	acks   string        // a file
	giveUp time.Duration // without an acknowledgement; 0: never
	log    *string
	output *format

	record *record
}

func newPub(a *app) *cobra.Command {
	var o pubOptions
	cmd := &cobra.Command{
		Use:   "pub CHANNEL [PAYLOAD…]",
		Short: "Publish messages and print their positions",
		Long: `Publish messages and print their positions, in the order published, as they are acknowledged.

Each PAYLOAD is a message. Without one, standard input (or --file) is one message, or with --lines
one for each line; then the last thing on standard error is how many were acknowledged, refused and
of unknown outcome.

While the relay or the channel's home is away, messages wait, in order, and are sent again; the input
is not read on meanwhile. What was sent and has no answer after five minutes can no longer be known:
its line is "unknown", those behind it go on, and the exit code is 5.`,
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
	f.StringVar(&o.acks, "acks", "", "append each acknowledged message to this file too: its position, a tab, the payload")
	f.DurationVar(&o.giveUp, "give-up", 10*time.Minute, "end when nothing was acknowledged for so long; 0: never")
	o.log = recordFlag(f)
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
	case o.giveUp < 0:
		return usagef("--give-up %v: write a time from 0 on, such as 10m", o.giveUp)
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

	// Before any file is made: where the relay is away, the same command works later.
	conn, err := a.dial(ctx, "pub")
	if err != nil {
		return err
	}
	var file *ackFile
	if o.acks != "" {
		file, err = openAckFile(o.acks)
	}
	if err == nil {
		o.record, err = newRecord(*o.log, "pub")
	}
	if err != nil {
		_ = conn.Close(ctx) // nothing was published
		return err
	}
	acks := newAcks(a.out, file, *o.output, a.overdue(channel), o.giveUp, stop)
	watching := a.reportLosses(ctx, conn)
	err = send(reading, conn, channel, payloads, acks, o)

	// What was sent is answered before the end, unless that takes too long.
	closing, cancel := withGrace(reading, drainWithin)
	defer cancel()
	left := context.AfterFunc(closing, acks.leave)
	_ = conn.Close(closing) // acks counts what it left without an answer
	left()
	watching()
	n, ackErr := acks.close()
	switch {
	case ackErr != nil:
		err = ackErr
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		err = nil // the interrupt, which is how to end it
	case reading.Err() != nil && ctx.Err() == nil:
		err = context.Cause(reading)
	}
	if logErr := o.record.close(); err == nil {
		err = logErr
	}
	return a.concluded(ctx.Err() != nil, n, err, o)
}

// concluded says what became of the messages; err is what ended the publishing.
func (a *app) concluded(interrupted bool, n counts, err error, o *pubOptions) error {
	if errors.Is(err, syscall.EPIPE) {
		return err
	}
	open := n.unknown > 0 || n.unsent > 0
	switch {
	case interrupted && open && err == nil:
		err = fmt.Errorf("interrupted: %v; what is unknown may stand or not", n)
	case interrupted && open:
		err = fmt.Errorf("%w; interrupted: %v; what is unknown may stand or not", err, n)
	case interrupted:
		fmt.Fprintf(a.err, "interrupted: %v\n", n)
	case errors.Is(err, errTired):
		err = fmt.Errorf("%w: %v", err, n)
	case err == nil && n.unknown > 0:
		err = fmt.Errorf("%v; what is unknown had no answer in time, and may stand or not", n)
	case o.lines:
		fmt.Fprintln(a.err, n)
	}
	if err != nil && n.unknown > 0 {
		return unknownError{err}
	}
	return err
}

// send publishes payloads in order until there are no more.
func send(ctx context.Context, conn *client.Client, channel relay.Channel, payloads <-chan payload, acks *acks, o *pubOptions) error {
	pace := newPace(o.rate)
	for n := uint64(1); ; n++ {
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
		ack := acks.expect(p.bytes)
		op := o.record.publish(channel, n, p.bytes)
		answer := func(at relay.Position, err error) {
			o.record.answer(op, at, err)
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
				o.record.answer(op, relay.Position{}, err)
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
