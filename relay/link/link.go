package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

const (
	defaultBacklog = 8 << 20          // bytes
	sweepEvery     = 5 * time.Second  // how often unanswered publishes are looked at
	giveUpAfter    = 25 * time.Second // and when they are answered unknown
)

// Options say how one subscription travels.
type Options struct {
	Own      bool // on a stream of its own, where the peer allows
	Datagram bool // by datagram, where the carrier can; mode latest
	// Window is how many bytes the peer may send before they are taken; 0: 65,536;
	// below 0: no limit, and the link's Backlog bounds them in sum.
	Window int
}

// A GoAway is the peer's wish that its sessions move.
type GoAway struct {
	Reason       relay.Code
	Deadline     time.Duration // from its arrival
	Alternatives []string      // URLs
}

// A Config says how to speak on a session.
type Config struct {
	Session relay.Session
	Token   string
	Agent   string
	Lanes   int     // streams of their own that this side takes; 0: none
	Default Options // of Subscribe
	// Backlog bounds the bytes that wait in subscriptions without a window, in sum; past it
	// the session is not read. 0: 8 MiB.
	Backlog int
	// OnGoAway is called when the peer says GoAway; it must not block. nil: every
	// subscription gets an End with the deadline, as a hub wants it.
	OnGoAway func(GoAway)
}

// A Link is an Upstream over one session; it dies with it.
type Link struct {
	// Set at construction.
	cfg     Config
	session relay.Session
	up      *lane
	done    chan struct{}
	hello   chan struct{} // closed when Welcome came
	leaving chan struct{} // closed when GoAway came

	writers sync.WaitGroup
	readers sync.WaitGroup

	mu         sync.Mutex
	ref        uint64 // the last used
	publishes  map[uint64]*publish
	subs       map[uint64]*subscription
	calls      map[uint64]chan<- reply // Refresh and Ping
	unanswered int                     // bytes
	sweeper    *time.Timer             // runs while publishes wait
	datagrams  bool                    // are being read
	welcome    *wire.Welcome
	ended      bool
	err        error // why it ended

	backlog backlog
}

var _ relay.Upstream = (*Link)(nil)

// Connect says Hello on a session and waits for Welcome. When it fails, the session is closed;
// the error is a *relay.Error if the peer refused.
func Connect(ctx context.Context, cfg Config) (*Link, error) {
	if cfg.Backlog == 0 {
		cfg.Backlog = defaultBacklog
	}
	stream, err := cfg.Session.Open(ctx)
	if err != nil {
		err = cause(cfg.Session, fmt.Errorf("open the first stream: %w", err))
		cfg.Session.Close(relay.Cancelled, "")
		return nil, err
	}
	l := &Link{
		cfg: cfg, session: cfg.Session,
		done: make(chan struct{}), hello: make(chan struct{}), leaving: make(chan struct{}),
		publishes: make(map[uint64]*publish),
		subs:      make(map[uint64]*subscription),
		calls:     make(map[uint64]chan<- reply),
	}
	l.backlog.most = cfg.Backlog
	l.up = newLane(stream, &l.writers, func(error) { l.session.Close(relay.Cancelled, "the first stream failed") })
	l.up.commit(wire.AppendProto(l.up.begin(), wire.TypeHello, 0, &wire.Hello{
		Token: cfg.Token, Agent: cfg.Agent, Lanes: uint32(max(cfg.Lanes, 0)),
	}))
	go l.run(stream)
	select {
	case <-l.hello:
		return l, nil
	case <-l.done:
		return nil, l.Err()
	case <-ctx.Done():
		l.Close(relay.Cancelled, "no Welcome in time")
		<-l.done
		return nil, fmt.Errorf("wait for Welcome: %w", context.Cause(ctx))
	}
}

// run reads until the session ends, then ends everything on it.
func (l *Link) run(stream relay.Stream) {
	if l.cfg.Lanes > 0 {
		l.readers.Go(l.acceptLanes)
	}
	err := l.read(stream, new(uint64))
	l.end(err)
	l.readers.Wait()
	l.up.kill()
	l.writers.Wait()
	close(l.done)
}

// acceptLanes reads the streams of subscriptions that have their own.
func (l *Link) acceptLanes() {
	for {
		stream, err := l.session.AcceptUni(context.Background())
		if err != nil {
			return
		}
		l.readers.Go(func() {
			var ref uint64
			if err := l.read(stream, &ref); isViolation(err) {
				l.violation(err)
				return
			}
			// After an End nobody holds the ref any more.
			l.deliver(ref, relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.LinkLost, Detail: "its stream ended"}}, nil)
		})
	}
}

// read handles the frames of one stream; ref gets the last one's.
func (l *Link) read(stream relay.ReceiveStream, ref *uint64) error {
	b := &burst{in: stream}
	defer b.wake()
	r := wire.NewReader(b)
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		*ref = f.Ref
		if err := l.handle(f, b); err != nil {
			return err
		}
	}
}

func (l *Link) handle(f wire.Frame, b *burst) error {
	if f.Ref == 0 {
		return l.handleSession(f)
	}
	switch f.Type {
	case wire.TypeOK, wire.TypeEnd:
		if done, err := l.answer(f); done || err != nil {
			return err
		}
	case wire.TypePong:
		l.reply(f.Ref, reply{})
		return nil
	case wire.TypeMessage, wire.TypeGap, wire.TypeStatus:
	default:
		return fmt.Errorf("%w: %v is out of place", wire.ErrMalformed, f.Type)
	}
	fr, err := parseFrame(f)
	if err != nil {
		return err
	}
	if !l.deliver(f.Ref, fr, b) {
		return fmt.Errorf("%w: the peer sent beyond the credit of ref %d", wire.ErrMalformed, f.Ref)
	}
	return nil
}

func (l *Link) handleSession(f wire.Frame) error {
	switch f.Type {
	case wire.TypeWelcome:
		var w wire.Welcome
		if err := unmarshal(f, &w); err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.welcome != nil {
			return fmt.Errorf("%w: a second Welcome", wire.ErrMalformed)
		}
		l.welcome = &w
		close(l.hello)
	case wire.TypeEnd:
		e, _, err := parseEnd(f.Body)
		if err != nil {
			return err
		}
		return e.Err()
	case wire.TypeGoAway:
		var m wire.GoAway
		if err := unmarshal(f, &m); err != nil {
			return err
		}
		l.goAway(GoAway{relay.Code(min(m.Reason, 999)), duration(m.DeadlineMs), m.Alternatives})
	default:
		return fmt.Errorf("%w: %v with ref 0", wire.ErrMalformed, f.Type)
	}
	return nil
}

func (l *Link) goAway(g GoAway) {
	select {
	case <-l.leaving:
	default:
		close(l.leaving) // only run's goroutine reads the first stream
	}
	if l.cfg.OnGoAway != nil {
		l.cfg.OnGoAway(g)
		return
	}
	for _, s := range l.snapshot() {
		s.put(relay.Frame{Kind: relay.KindEnd, End: &relay.End{
			Code: g.Reason, Deadline: max(g.Deadline, time.Millisecond), Hint: relay.Hint{Alternatives: g.Alternatives},
		}}, nil)
	}
}

func isViolation(err error) bool {
	return errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) || errors.Is(err, wire.ErrUnsupported)
}

func (l *Link) violation(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = relay.End{Code: relay.Protocol, Detail: err.Error()}.Err()
	}
	l.mu.Unlock()
	l.session.Close(relay.Protocol, err.Error())
}

// end ends the session, if it has not ended, and everything that waits on it.
func (l *Link) end(err error) {
	if isViolation(err) {
		l.violation(err)
	}
	l.mu.Lock()
	if l.err == nil {
		l.err = cause(l.session, err)
	}
	err = l.err
	l.ended = true
	publishes, subs, calls := l.publishes, l.subs, l.calls
	l.publishes, l.subs, l.calls = nil, nil, nil
	if l.sweeper != nil {
		l.sweeper.Stop()
	}
	l.mu.Unlock()
	l.session.Close(relay.Cancelled, "")
	l.backlog.close()
	for _, p := range publishes {
		p.answer(relay.Position{}, relay.End{Code: relay.Unknown, Detail: "the session ended before the answer: " + err.Error()})
	}
	lost := relay.End{Code: relay.LinkLost, Detail: err.Error()}
	for _, s := range subs {
		s.put(relay.Frame{Kind: relay.KindEnd, End: &lost}, nil)
	}
	for _, c := range calls {
		close(c)
	}
}

// cause says why a session ended, as an error with a code where there is one.
func cause(session relay.Session, err error) error {
	if e, ok := errors.AsType[*relay.Error](err); ok {
		return e
	}
	why := context.Cause(session.Context())
	if c, ok := errors.AsType[*relay.CloseError](why); ok && c.Remote && c.Code != relay.Done {
		return relay.End{Code: c.Code, Detail: c.Reason}.Err()
	}
	if why != nil {
		return why
	}
	return err
}

// Welcome returns what the peer said at the beginning. Not to be changed.
func (l *Link) Welcome() *wire.Welcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.welcome
}

// Session returns the session under the link.
func (l *Link) Session() relay.Session { return l.session }

// Done is closed when the link has ended and nothing of it runs any more.
func (l *Link) Done() <-chan struct{} { return l.done }

// Leaving is closed when the peer has said GoAway.
func (l *Link) Leaving() <-chan struct{} { return l.leaving }

// Err returns why the link ended; nil before.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close ends the session. It does not wait: Done does.
func (l *Link) Close(code relay.Code, reason string) {
	l.mu.Lock()
	if l.err == nil {
		l.err = &relay.CloseError{Code: code, Reason: reason}
	}
	l.mu.Unlock()
	l.session.Close(code, reason)
}
