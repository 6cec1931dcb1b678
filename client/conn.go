package client

import (
	"context"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A session is what a client needs of a link.
type session interface {
	relay.Upstream
	SubscribeWith(r relay.SubscribeRequest, o link.Options, wake func()) relay.Subscription
	Refresh(ctx context.Context, token string) (expiresIn time.Duration, err error)
	Ping(ctx context.Context) (time.Duration, error)
	Welcome() *wire.Welcome
	Done() <-chan struct{}
	Err() error
	Close(code relay.Code, reason string)
}

var _ session = (*link.Link)(nil)

// A dialRequest asks for a session that has said Hello.
type dialRequest struct {
	url      string // of the edge: scheme, host and port
	token    string
	hurry    bool              // try all carriers at once: the path in use is dead
	rtt      time.Duration     // last measured; 0: not known
	onGoAway func(link.GoAway) // may be called before the dial returns; must not block
}

// A dialFunc connects; Client has one, its tests others.
type dialFunc func(ctx context.Context, r dialRequest) (session, relay.Carrier, error)

// A conn is one session of a client and who uses it.
type conn struct {
	// Set at construction.
	session session
	carrier relay.Carrier
	since   time.Time
	subject relay.Subject // of the token that said Hello; empty: the token does not tell

	asked *link.GoAway // owned by the keeper: came before the session was in use

	mu      sync.Mutex
	feeds   int
	leaving bool
}

// join counts a subscription that begins on the session.
func (c *conn) join() {
	c.mu.Lock()
	c.feeds++
	c.mu.Unlock()
}

// part counts one that has left.
func (c *conn) part() {
	c.mu.Lock()
	c.feeds--
	last := c.leaving && c.feeds == 0
	c.mu.Unlock()
	if last {
		c.session.Close(relay.Done, "moved to another session")
	}
}

// leave closes the session once every subscription has left it, or after the time given.
func (c *conn) leave(within time.Duration) {
	c.mu.Lock()
	c.leaving = true
	last := c.feeds == 0
	c.mu.Unlock()
	if last {
		// Answers to what was published on it are on their way.
		within = min(within, time.Second)
	}
	time.AfterFunc(within, func() { c.session.Close(relay.Done, "moved to another session") })
}
