package client

import (
	"context"
	"fmt"

	"github.com/meridian-relay/meridian/relay"
)

// Publish publishes m and returns its position once the channel's home has acknowledged it,
// however many sessions that takes. Messages to one channel stand in the order of the calls.
//
// An error is the relay's refusal (*relay.Error), ctx's, or ErrClosed. If ctx ends first, or
// the home cannot tell any more, and the message may stand nevertheless, it is also
// ErrUnknownOutcome; without that, it does not stand and will not.
func (c *Client) Publish(ctx context.Context, ch relay.Channel, m Message) (relay.Position, error) {
	type result struct {
		at  relay.Position
		err error
	}
	done := make(chan result, 1)
	l, err := c.post(ctx, ch, &m, func(at relay.Position, err error) { done <- result{at, err} })
	if err != nil {
		return relay.Position{}, fmt.Errorf("publish to %s: %w", ch, err)
	}
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		told, inDoubt := c.courier.cancel(l)
		switch {
		case told:
			r = <-done
		case inDoubt:
			r.err = fmt.Errorf("%w: %w", context.Cause(ctx), ErrUnknownOutcome)
		default:
			r.err = fmt.Errorf("%w before it was sent", context.Cause(ctx))
		}
	}
	if r.err != nil {
		return relay.Position{}, fmt.Errorf("publish to %s: %w", ch, r.err)
	}
	return r.at, nil
}

// PublishAsync publishes m without waiting for its position. While Config.Unanswered bytes are
// unanswered it waits for room, until ctx ends; ctx does not matter afterwards. Unless it
// returns an error, done is called once, as Publish would return: one call at a time for all
// channels, and in the order of publishing for one, but that a refusal may overtake. done must
// not block. m's payload is copied.
func (c *Client) PublishAsync(ctx context.Context, ch relay.Channel, m Message, done func(relay.Position, error)) error {
	_, err := c.post(ctx, ch, &m, func(at relay.Position, err error) {
		if err != nil {
			err = fmt.Errorf("publish to %s: %w", ch, err)
		}
		done(at, err)
	})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", ch, err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, ch relay.Channel, m *Message, result func(relay.Position, error)) (*letter, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if _, err := relay.ParseChannel(string(ch)); err != nil {
		return nil, relay.End{Code: relay.BadChannel, Detail: err.Error()}.Err()
	}
	body, err := m.encode(int(c.maxPayload.Load()))
	if err != nil {
		return nil, err
	}
	var producer relay.Producer
	if m.ID != "" {
		if producer, err = c.producerOf(ctx, m.ID); err != nil {
			return nil, err
		}
	}
	return c.courier.post(ctx, ch, producer, body, result)
}

// producerOf returns the producer that stands for an id of this client's subject. The HTTP API
// derives it in the same way.
func (c *Client) producerOf(ctx context.Context, id string) (relay.Producer, error) {
	token, err := c.tokens.get(ctx)
	if err != nil {
		return relay.Producer{}, err
	}
	who, err := subject(token)
	if err != nil {
		return relay.Producer{}, relay.End{Code: relay.BadRequest, Detail: err.Error()}.Err()
	}
	return relay.ProducerOf(who, id), nil
}
