package main

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

// A printer writes what subscriptions bring, in the order in which it comes: data on stdout, and
// as text the rest on stderr. Safe for concurrent use.
type printer struct {
	// Set at construction.
	app    *app
	format format
	named  bool // channels stand before payloads

	mu     sync.Mutex
	out    *lines
	left   uint64 // messages until there are enough; 0: never enough
	timer  *time.Timer
	enough bool
	err    error // of writing
}

// flushAfter is how long a line may wait for others that leave with it.
const flushAfter = 2 * time.Millisecond

func newPrinter(a *app, f format, named bool, count uint64) *printer {
	return &printer{app: a, format: f, named: named, out: newLines(a.out), left: count}
}

// close writes what waits.
func (p *printer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.err == nil {
		p.err = p.out.flush()
	}
	return p.err
}

// later flushes in a moment. p.mu is held.
func (p *printer) later() {
	if p.timer != nil {
		return
	}
	p.timer = time.AfterFunc(flushAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer = nil
		if p.err == nil {
			p.err = p.out.flush()
		}
	})
}

// event prints e; errEnough after the last message that is wanted.
func (p *printer) event(e client.Event) error {
	switch e := e.(type) {
	case *client.Message:
		return p.message(e)
	case *client.Subscribed:
		return p.note(event{Event: "subscribed", Channel: e.Channel, position: positionOf(e.At), Head: positionOf(e.Head), Resumed: e.Resumed},
			"subscribed to %s at %v", e.Channel, e.At)
	case *client.Gap:
		return p.note(event{Event: "gap", Channel: e.Channel, After: positionOf(e.After), Next: positionOf(e.Next), Reason: e.Reason.String()},
			"gap in %s: messages after %v and before %v are gone (%v)", e.Channel, e.After, e.Next, e.Reason)
	case *client.Status:
		return p.note(event{Event: "status", Channel: e.Channel, State: e.State.String()}, "the way to the home of %s is %v", e.Channel, e.State)
	}
	return nil // states come once, from the client
}

// state prints the client's state.
func (p *printer) state(s client.State) error {
	e := event{Event: "state", State: string(s.Phase), Edge: s.Edge, Region: s.Region, Carrier: s.Carrier}
	if s.Reason != nil {
		e.Reason = s.Reason.Error()
	}
	return p.note(e, "%s", describe(s))
}

// describe is a state for a person.
func describe(s client.State) string {
	human := string(s.Phase)
	if s.Phase == client.Connected {
		human += fmt.Sprintf(" to edge %s over %s", s.Edge, s.Carrier)
	}
	if s.Reason != nil {
		human += ": " + s.Reason.Error()
	}
	return human
}

// patient is how long an answer may take before a person is told that it is waited for.
const patient = 3 * time.Second

// overdue returns a timer that says on stderr what is waited for. It runs.
func (a *app) overdue(channel relay.Channel) *time.Timer {
	return time.AfterFunc(patient, func() {
		fmt.Fprintf(a.err, "no answer yet from the home of %s; it is asked until it answers, or ^C\n", channel)
	})
}

// reportLosses says on stderr when the session is lost and when there is one again, until stop is
// called: a command that waits says what for.
func (a *app) reportLosses(ctx context.Context, conn *client.Client) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		lost := false
		for s := range conn.States(ctx) {
			if !lost && s.Phase != client.Reconnecting && s.Phase != client.Suspended {
				continue
			}
			if fmt.Fprintln(a.err, describe(s)); !lost {
				fmt.Fprintln(a.err, "it goes on where it was once connected; ^C gives up")
			}
			lost = s.Phase != client.Connected
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// note prints an event.
func (p *printer) note(e event, human string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.format == text {
		fmt.Fprintf(p.app.err, human+"\n", args...)
		return p.err
	}
	if p.err == nil {
		p.err = p.out.json(e)
		p.later()
	}
	return p.err
}

func (p *printer) message(m *client.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if p.enough {
		return errEnough
	}
	if p.format == jsonOut {
		p.err = p.out.json(messageOf(m))
	} else if p.named {
		p.err = p.out.text(string(m.Channel) + "\t" + string(m.Payload))
	} else {
		p.err = p.out.text(string(m.Payload))
	}
	p.later()
	if p.left > 0 {
		if p.left--; p.left == 0 {
			p.enough = true
			return errEnough
		}
	}
	return p.err
}

// An event is what happens beside messages, in JSON.
type event struct {
	Event   string        `json:"event"` // subscribed, gap, status or state
	Channel relay.Channel `json:"channel,omitempty"`
	*position
	Head    *position     `json:"head,omitempty"`
	After   *position     `json:"after,omitempty"`
	Next    *position     `json:"next,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	State   string        `json:"state,omitempty"`
	Edge    string        `json:"edge,omitempty"`
	Region  relay.Region  `json:"region,omitempty"`
	Carrier relay.Carrier `json:"carrier,omitempty"`
	Resumed bool          `json:"resumed,omitempty"`
}

// A message in JSON.
type message struct {
	Channel     relay.Channel     `json:"channel"`
	Epoch       relay.Epoch       `json:"epoch"`
	Seq         relay.Seq         `json:"seq"`
	Time        string            `json:"time"` // RFC 3339, milliseconds, UTC
	Publisher   relay.Subject     `json:"publisher"`
	Key         string            `json:"key,omitempty"`
	ContentType string            `json:"content_type,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Payload     *string           `json:"payload,omitempty"`
	Base64      []byte            `json:"payload_base64,omitempty"` // where the payload is not UTF-8
}

func positionOf(at relay.Position) *position {
	return &position{at.Epoch, at.Seq}
}

func messageOf(m *client.Message) message {
	out := message{
		Channel: m.Channel, Epoch: m.Position.Epoch, Seq: m.Position.Seq,
		Time:      m.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		Publisher: m.Publisher, Key: m.Key, ContentType: m.ContentType, Headers: m.Headers,
	}
	if utf8.Valid(m.Payload) {
		s := string(m.Payload)
		out.Payload = &s
	} else {
		out.Base64 = m.Payload
	}
	return out
}
