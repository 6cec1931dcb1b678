package link

import (
	"context"
	"errors"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// errEnded is what calls on an ended link return, joined with the reason.
var errEnded = errors.New("the link has ended")

// A reply answers Refresh or Ping.
type reply struct {
	expires time.Duration
	end     relay.End
}

// Ping measures the round trip to the peer.
func (l *Link) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := l.ask(ctx, func(b []byte, ref uint64) []byte { return wire.AppendFrame(b, wire.TypePing, ref, nil) })
	return time.Since(start), err
}

// Refresh gives the session a new token, and returns when that expires; 0: never. A refusal,
// a *relay.Error, leaves the old token in force.
func (l *Link) Refresh(ctx context.Context, token string) (time.Duration, error) {
	r, err := l.ask(ctx, func(b []byte, ref uint64) []byte {
		return wire.AppendProto(b, wire.TypeRefresh, ref, &wire.Refresh{Token: token})
	})
	return r.expires, err
}

// ask sends a request and waits for its OK, its Pong or its End.
func (l *Link) ask(ctx context.Context, request func(b []byte, ref uint64) []byte) (reply, error) {
	answer := make(chan reply, 1)
	l.mu.Lock()
	if l.ended {
		defer l.mu.Unlock()
		return reply{}, errors.Join(errEnded, l.err)
	}
	ref, b := l.next()
	l.calls[ref] = answer
	l.up.commit(request(b, ref))
	l.mu.Unlock()
	select {
	case r, open := <-answer:
		if !open {
			return r, errors.Join(errEnded, l.Err())
		}
		return r, r.end.Err()
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.calls, ref)
		l.mu.Unlock()
		return reply{}, context.Cause(ctx)
	}
}

// next takes the next ref and locks the lane to append its request. l.mu is held until that is
// committed, so that refs increase on the stream.
func (l *Link) next() (uint64, []byte) {
	l.ref++
	return l.ref, l.up.begin()
}

// reply hands r to who asked; false if nobody did.
func (l *Link) reply(ref uint64, r reply) bool {
	l.mu.Lock()
	c, ok := l.calls[ref]
	delete(l.calls, ref)
	l.mu.Unlock()
	if ok {
		c <- r // it has room for the only one
	}
	return ok
}
