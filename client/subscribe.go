package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// SubscribeOptions say what a subscription gets. The zero value gets every message from now on.
type SubscribeOptions struct {
	From relay.Start // where to begin; zero: live
	Mode relay.Mode  // zero: reliable
	// Limit ends the subscription after so many messages, or at the message that is the newest
	// when it begins. 0: endless.
	Limit uint64
	// Barrier begins at or after every publish acknowledged before; it costs a round trip to
	// the channel's home.
	Barrier bool
	// Own asks for a stream of its own, which a lost packet of another does not stall.
	Own bool
	// Datagram takes messages by datagram where they fit: some get lost. Mode latest only.
	Datagram bool
	// Window is how many bytes may be on the way and unread. 0: Config.Window.
	Window int
}

// Subscribe yields a channel's messages and what else happens to the subscription: a
// *Subscribed first and after each interruption, then *Message, *Gap and *Status, and the
// client's *State whenever it changes. It begins with the loop and ends with it; nothing runs
// in between, so a consumer that does not take costs its window of bytes and no more.
//
// In mode reliable every message comes once, in order; what does not exist any more is named by
// a *Gap. A lost session is resumed after the last message yielded. The sequence ends after
// Limit; or with one error: a refusal (*relay.Error), ctx's, ErrClosed or ErrBroken.
func (c *Client) Subscribe(ctx context.Context, ch relay.Channel, o SubscribeOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := o.check(ch); err != nil {
			yield(nil, fmt.Errorf("subscribe to %s: %w", ch, err))
			return
		}
		f := newFeed(c, ch, o)
		defer f.close()
		if err := f.run(ctx, yield); err != nil {
			yield(nil, fmt.Errorf("subscription to %s: %w", ch, err))
		}
	}
}

func (o *SubscribeOptions) check(ch relay.Channel) error {
	if _, err := relay.ParseChannel(string(ch)); err != nil {
		return relay.End{Code: relay.BadChannel, Detail: err.Error()}.Err()
	}
	if o.Datagram && o.Mode != relay.Latest {
		return relay.End{Code: relay.BadRequest, Detail: "datagrams get lost: they go with mode latest"}.Err()
	}
	return nil
}

// History yields up to limit messages, of those that stand when it is called: from where from
// says. 0: all of them. Gaps are left out.
func (c *Client) History(ctx context.Context, ch relay.Channel, from relay.Start, limit uint64) iter.Seq2[*Message, error] {
	if from.Kind == relay.StartLive {
		from.Kind = relay.StartFirst
	}
	if limit == 0 {
		limit = relay.MaxNumber
	}
	return func(yield func(*Message, error) bool) {
		for e, err := range c.Subscribe(ctx, ch, SubscribeOptions{From: from, Limit: limit, Barrier: true}) {
			if err != nil {
				yield(nil, err)
				return
			}
			if m, ok := e.(*Message); ok && !yield(m, nil) {
				return
			}
		}
	}
}

// linkOptions returns how the subscription travels.
func (o *SubscribeOptions) linkOptions(c *Config) link.Options {
	window := o.Window
	if window == 0 {
		window = c.Window
	}
	return link.Options{Own: o.Own, Datagram: o.Datagram, Window: window}
}
