package client

import (
	"context"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const batch = 16 << 10 // bytes of messages that are taken from a session at once

// A feed is one running subscription. It has no goroutine: the consumer's loop is it.
type feed struct {
	// Set at construction.
	c        *Client
	channel  relay.Channel
	options  SubscribeOptions
	notified chan struct{} // has one token after wake

	// Owned by the consumer.
	cur, succ *source // the one in use, and the one that is to replace it
	track     track
	seen      uint64 // version of the state yielded last
	failures  int    // in a row
	notBefore time.Time
	frames    []relay.Frame
}

// A source is a feed's subscription on one session.
type source struct {
	conn     *conn
	sub      relay.Subscription
	begun    bool // its OK came
	announce bool // it said that it will end
}

func newFeed(c *Client, ch relay.Channel, o SubscribeOptions) *feed {
	f := &feed{c: c, channel: ch, options: o, notified: make(chan struct{}, 1)}
	f.track = newTrack(ch, o)
	_, f.seen, _ = c.states.get()
	c.mu.Lock()
	c.feeds[f] = struct{}{}
	c.mu.Unlock()
	return f
}

func (f *feed) close() {
	f.c.mu.Lock()
	delete(f.c.feeds, f)
	f.c.mu.Unlock()
	f.drop(&f.cur)
	f.drop(&f.succ)
}

// wake makes the consumer look again. It never blocks.
func (f *feed) wake() {
	select {
	case f.notified <- struct{}{}:
	default:
	}
}

// run yields until the end; the error is to be yielded too. After yield returned false the
// error is nil.
func (f *feed) run(ctx context.Context, yield func(Event, error) bool) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f.c.Err(); err != nil {
			return err
		}
		if s, version, _ := f.c.states.get(); version != f.seen {
			f.seen = version
			if !yield(&s, nil) {
				return nil
			}
		}
		f.connect(time.Now())
		took, more, err := f.pull(yield)
		if !more || err != nil {
			return err
		}
		if !took {
			f.wait(ctx)
		}
	}
}

// connect opens what is to be open now.
func (f *feed) connect(now time.Time) {
	conn := f.c.current()
	if conn == nil || f.succ != nil || now.Before(f.notBefore) {
		return
	}
	if f.cur != nil && f.cur.conn == conn && !f.cur.announce || conn.session.Err() != nil {
		return
	}
	if f.cur == nil {
		f.cur = f.open(conn)
	} else {
		f.succ = f.open(conn)
	}
}

func (f *feed) open(conn *conn) *source {
	conn.join()
	sub := conn.session.SubscribeWith(f.track.request(), f.options.linkOptions(&f.c.cfg), f.wake)
	return &source{conn: conn, sub: sub}
}

func (f *feed) drop(s **source) {
	if *s != nil {
		(*s).sub.Close()
		(*s).conn.part()
		*s = nil
	}
}

// pull takes what is there. took: there was something; more: go on.
func (f *feed) pull(yield func(Event, error) bool) (took, more bool, err error) {
	for _, s := range []**source{&f.succ, &f.cur} {
		for *s != nil {
			f.frames = (*s).sub.Next(f.frames[:0], batch)
			if len(f.frames) == 0 {
				break
			}
			took = true
			if more, err := f.take(s, yield); !more || err != nil {
				return took, false, err
			}
			if s == &f.succ {
				break // it may have become cur
			}
		}
	}
	return took, true, nil
}

// take yields the frames of *s.
func (f *feed) take(s **source, yield func(Event, error) bool) (more bool, err error) {
	defer clear(f.frames)
	for i := range f.frames {
		fr := &f.frames[i]
		switch fr.Kind {
		case relay.KindEnd:
			if fr.End.Deadline > 0 {
				(*s).announce = true
				continue
			}
			return f.ended(s, fr.End)
		case relay.KindOK:
			f.began(s)
			s = &f.cur
		}
		e, verdict, err := f.track.take(fr)
		switch {
		case err != nil:
			return false, err
		case verdict == trackHole:
			f.drop(s)
			return true, nil
		}
		if e != nil && !yield(e, nil) {
			return false, nil
		}
		if verdict == trackDone {
			return false, nil
		}
	}
	return true, nil
}

// began notes that *s stands; a successor takes over.
func (f *feed) began(s **source) {
	(*s).begun = true
	f.failures, f.notBefore = 0, time.Time{}
	if s == &f.succ {
		f.drop(&f.cur)
		f.cur, f.succ = f.succ, nil
	}
}

// ended takes the end of *s.
func (f *feed) ended(s **source, end *relay.End) (more bool, err error) {
	current := (*s).conn == f.c.current()
	successor := s == &f.succ
	f.drop(s)
	switch retry := end.Code.Retry(); {
	case end.Code == relay.Done:
		return false, nil
	case retry == relay.Final && successor: // the one in use goes on, and the end of that tells
	case retry == relay.Final:
		return false, end.Err()
	case !current: // the session is gone, or going: the next one tells
		return true, nil
	}
	f.failures++
	f.notBefore = time.Now().Add(retryDelay(*end, f.failures, jitter()))
	return true, nil
}

// wait waits for something to do.
func (f *feed) wait(ctx context.Context) {
	var due <-chan time.Time
	if wait := time.Until(f.notBefore); wait > 0 && (f.cur == nil || f.succ == nil) {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-f.notified:
	case <-due:
	case <-ctx.Done():
	}
}
