package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

const (
	dialTimeout    = 15 * time.Second       // of one attempt, Hello included
	pingEvery      = 5 * time.Second        // while something is open
	pingTimeout    = 3 * time.Second        // without a pong for so long, the path is dead
	suspectLeast   = 700 * time.Millisecond // without a pong for so long, a successor is dialled
	suspectMost    = 1500 * time.Millisecond
	stableAfter    = 5 * time.Second // a session that lived so long resets the backoff
	suspendedAfter = 2 * time.Minute
	leaveWithin    = 10 * time.Second // subscriptions have to leave a session that was replaced
	refreshTimeout = 10 * time.Second
)

var errNoPong = errors.New("no pong in time")

// A keeper keeps a client connected. One goroutine decides; what waits runs beside it and
// posts its result.
type keeper struct {
	// Set at construction.
	c     *Client
	posts chan func() // run by the keeper's goroutine

	// Owned by run.
	cur          *conn
	dialing      *dialling
	pinging      bool
	refreshing   bool
	rtt          time.Duration // smoothed; 0: not known
	failures     int           // attempts in a row, and sessions that did not last
	refreshFails int
	reason       error     // of the last failure
	downSince    time.Time // no session since
	alternatives []string  // of the last GoAway, not yet tried
	ever         bool      // was connected

	// When to do what; zero: not at all.
	dialAt, pingAt, suspectAt, renewAt, suspendAt time.Time
}

// A dialling is an attempt under way.
type dialling struct {
	cancel  context.CancelFunc
	suspect bool // only because a pong is late
}

func newKeeper(c *Client) *keeper { return &keeper{c: c, posts: make(chan func())} }

// post hands fn to run's goroutine, unless that has ended.
func (k *keeper) post(fn func()) {
	select {
	case k.posts <- fn:
	case <-k.c.ctx.Done():
	}
}

// run keeps the client connected until ctx ends.
func (k *keeper) run(ctx context.Context) {
	now := time.Now()
	k.downSince, k.dialAt, k.suspendAt = now, now, now.Add(suspendedAfter)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		k.due(ctx, time.Now())
		if at := k.nextDue(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		var ended <-chan struct{}
		if k.cur != nil {
			ended = k.cur.session.Done()
		}
		select {
		case <-ctx.Done():
		case fn := <-k.posts:
			fn()
		case <-timer.C:
		case <-ended:
			k.lost(k.cur.session.Err())
		}
	}
	if k.dialing != nil {
		k.dialing.cancel()
	}
	if k.cur != nil {
		k.c.setConn(nil)
	}
}

func (k *keeper) nextDue() time.Time {
	var at time.Time
	for _, t := range []time.Time{k.dialAt, k.pingAt, k.suspectAt, k.renewAt, k.suspendAt} {
		at = earliest(at, t)
	}
	return at
}

// isDue reports whether *at has come, and clears it.
func isDue(at *time.Time, now time.Time) bool {
	if at.IsZero() || now.Before(*at) {
		return false
	}
	*at = time.Time{}
	return true
}

// due does what is due.
func (k *keeper) due(ctx context.Context, now time.Time) {
	if isDue(&k.dialAt, now) && k.dialing == nil {
		k.dial(ctx, false)
	}
	if isDue(&k.suspectAt, now) && k.dialing == nil {
		k.dial(ctx, true)
	}
	if isDue(&k.pingAt, now) {
		k.pingAt = now.Add(pingEvery)
		if !k.pinging && k.c.busy() {
			k.ping(ctx, now)
		}
	}
	if isDue(&k.renewAt, now) {
		if k.refreshing { // on a session that was replaced
			k.renewAt = now.Add(time.Second)
		} else {
			k.refresh(ctx)
		}
	}
	if isDue(&k.suspendAt, now) && k.cur == nil {
		k.c.setState(State{Phase: Suspended, Reason: k.reason})
	}
}

// dial begins an attempt. suspect: the session in use may be dead, and its carrier with it.
func (k *keeper) dial(ctx context.Context, suspect bool) {
	target := k.c.url
	if len(k.alternatives) > 0 {
		target, k.alternatives = k.alternatives[0], k.alternatives[1:]
	}
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, errors.New("no session within 15 s"))
	d := &dialling{cancel, suspect}
	k.dialing = d
	lost := errors.Is(k.reason, errNoPong)
	r := dialRequest{url: target, hurry: suspect || lost, rtt: k.rtt}
	k.c.wg.Go(func() {
		defer cancel()
		conn, err := k.connect(ctx, r)
		k.post(func() { k.dialed(d, conn, err) })
	})
}

// connect runs beside the keeper.
func (k *keeper) connect(ctx context.Context, r dialRequest) (*conn, error) {
	token, err := k.c.tokens.get(ctx)
	if err != nil {
		return nil, err
	}
	r.token = token
	made := make(chan *conn, 1)
	r.onGoAway = func(g link.GoAway) {
		go func() { // the session's own goroutine must not wait
			conn := <-made
			made <- conn
			k.post(func() { k.goAway(conn, g) })
		}()
	}
	s, carrier, err := k.c.cfg.dial(ctx, r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		made <- nil
		return nil, err
	}
	who, _ := subject(token) // a token need not tell
	conn := &conn{session: s, carrier: carrier, since: time.Now(), subject: who}
	k.c.wg.Go(func() {
		stop := context.AfterFunc(k.c.ctx, func() { s.Close(relay.Done, "client closed") })
		<-s.Done()
		stop()
	})
	made <- conn
	return conn, nil
}
