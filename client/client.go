package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A Client is one user of a relay: at any time it has one session, which it replaces when it is
// lost. Its methods are safe for concurrent use.
type Client struct {
	// Set at construction.
	cfg     Config
	url     string
	tokens  tokens
	states  *stateBox
	courier *courier
	ctx     context.Context // the client's life
	end     context.CancelCauseFunc
	wg      sync.WaitGroup
	closing sync.Once

	maxPayload atomic.Int64

	mu    sync.Mutex
	conn  *conn // nil: no session stands
	feeds map[*feed]struct{}
}

// Dial returns a client as soon as it is connected. It goes on trying until ctx ends, or until
// the relay refuses in a way that trying again does not mend; that error has the relay's code
// (*relay.Error). rawURL is https://HOST:PORT, or http://HOST:PORT for WebSocket without TLS.
// The client lives until Close, whatever becomes of ctx.
func Dial(ctx context.Context, rawURL string, cfg Config) (*Client, error) {
	cfg, u, err := cfg.check(rawURL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, url: u.Scheme + "://" + u.Host,
		states: newStateBox(), courier: newCourier(cfg.Unanswered),
		feeds: map[*feed]struct{}{},
	}
	c.tokens.static, c.tokens.source = cfg.Token, cfg.TokenSource
	c.maxPayload.Store(wire.MaxPayload)
	c.ctx, c.end = context.WithCancelCause(context.WithoutCancel(ctx))
	release := func() {}
	if cfg.dial == nil {
		d, err := newDialer(cfg)
		if err != nil {
			c.end(err)
			return nil, err
		}
		c.cfg.dial, release = d.dial, d.close
	}
	k := newKeeper(c)
	c.wg.Go(func() {
		k.run(c.ctx)
		release()
	})
	c.wg.Go(func() { c.courier.run(c.ctx) })

	var last error
	for s := range c.States(ctx) {
		switch s.Phase {
		case Connected:
			return c, nil
		case Closed:
			c.wg.Wait()
			return nil, fmt.Errorf("connect to %s: %w", c.url, s.Reason)
		}
		last = s.Reason
	}
	c.fail(ErrClosed)
	c.wg.Wait()
	if last != nil {
		return nil, fmt.Errorf("connect to %s: %w; the last attempt: %w", c.url, context.Cause(ctx), last)
	}
	return nil, fmt.Errorf("connect to %s: %w", c.url, context.Cause(ctx))
}

// Close waits until every publish has its outcome, or ctx ends, and ends the client. It returns
// ctx's error if publishes were left without an answer; their callers get ErrClosed.
func (c *Client) Close(ctx context.Context) error {
	c.courier.shut(ErrClosed)
	err := c.courier.drained(ctx)
	c.fail(ErrClosed)
	c.wg.Wait()
	if err != nil {
		return fmt.Errorf("close: publishes without an answer: %w", err)
	}
	return nil
}

// Done is closed when the client has ended: by Close, or because the relay refused it for good.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why the client ended; nil before.
func (c *Client) Err() error {
	if c.ctx.Err() == nil {
		return nil
	}
	return context.Cause(c.ctx)
}

// fail ends the client: err is what all calls return from now on. It does not wait.
func (c *Client) fail(err error) {
	c.closing.Do(func() {
		why := err
		if !errors.Is(err, ErrClosed) {
			err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		c.courier.shut(err)
		c.end(err)
		c.states.set(State{Phase: Closed, Reason: why})
		c.notifyFeeds()
	})
}

// setConn makes conn the session to use; nil: none stands.
func (c *Client) setConn(conn *conn) {
	if conn != nil {
		if most := conn.session.Welcome().GetLimits().GetPayload(); most > 0 {
			c.maxPayload.Store(int64(min(most, wire.MaxPayload)))
		}
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	c.courier.use(conn)
	c.notifyFeeds()
}

// setState publishes s and wakes subscriptions, which yield it.
func (c *Client) setState(s State) {
	c.states.set(s)
	c.notifyFeeds()
}

func (c *Client) notifyFeeds() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.feeds {
		f.wake()
	}
}

func (c *Client) current() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// busy reports whether somebody waits for the session to do something.
func (c *Client) busy() bool {
	c.mu.Lock()
	feeds := len(c.feeds)
	c.mu.Unlock()
	return feeds > 0 || c.courier.pending()
}

// connectedState is the state while conn stands.
func connectedState(conn *conn) State {
	w := conn.session.Welcome()
	return State{Phase: Connected, Edge: w.GetEdge(), Region: relay.Region(w.GetRegion()), Carrier: conn.carrier}
}

// tokenLife returns how long the token presented at Hello is good for; 0: for ever.
func tokenLife(w *wire.Welcome) time.Duration {
	return time.Duration(min(w.GetTokenExpiresMs(), 1<<42)) * time.Millisecond
}
