package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// Defaults of a session's limits.
const (
	defaultUnanswered = 1 << 20 // bytes of publishes without an answer
	defaultStreams    = 15      // request streams beyond the first
	closeWithin       = time.Second
	maxAgent          = 128
)

// A ServeConfig says what to serve on a session.
type ServeConfig struct {
	Session  relay.Session
	Upstream relay.Upstream
	Gate     Gate
	// Welcome is what the peer is told; the limits in it are enforced: payload bytes
	// (0: 65,536), unanswered bytes (0: 1 MiB), streams beyond the first (0: 15), of which
	// subscriptions are the Gate's. Not changed by the Server.
	Welcome *wire.Welcome
	// Welcomed is called when Hello was valid; nil: not.
	Welcomed func()
	// Delivered is told how many messages were written at once, and the bytes of their bodies;
	// it must be cheap, and is called from several goroutines. nil: not.
	Delivered func(messages, bytes int)
	// MaxLanes bounds subscriptions on streams of their own; 0: 256.
	MaxLanes int
	// Ahead bounds, with other Servers, the lanes that read a history ahead; nil: none does.
	Ahead *Ahead
	// Log gets what an operator may want to know of a session's end; nil: discarded.
	Log *slog.Logger
}

// A Server exposes an Upstream on one session, under a Grant that it checks at every request
// and again when it changes.
type Server struct {
	// Set at construction.
	cfg        ServeConfig
	session    relay.Session
	payload    int
	unanswered int64

	// Set before the first request is read.
	lanes int // streams of their own that the peer takes

	writers sync.WaitGroup
	readers sync.WaitGroup

	grant  atomic.Pointer[relay.Grant]
	inWork atomic.Int64 // bytes of publishes without an answer
	over   atomic.Bool  // the session's End was said: no request is carried out, no message sent

	mu       sync.Mutex
	main     *lane              // of the first stream; written once, so that Run reads it without mu
	feeds    map[uint64]*feed   // by ref
	streams  map[*lane]struct{} // of further request streams
	dgrams   *datagrams
	ownLanes int
	expiry   *time.Timer
	goAway   *wire.GoAway // to be said after Welcome
	welcomed bool
	closing  bool
}

// NewServer returns a Server; Run serves.
func NewServer(cfg ServeConfig) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Delivered == nil {
		cfg.Delivered = func(int, int) {}
	}
	if cfg.MaxLanes == 0 {
		cfg.MaxLanes = 256
	}
	w := &wire.Welcome{}
	if cfg.Welcome != nil {
		w = proto.Clone(cfg.Welcome).(*wire.Welcome)
	}
	if w.Limits == nil {
		w.Limits = &wire.Limits{}
	}
	if w.Limits.Payload == 0 {
		w.Limits.Payload = 64 << 10
	}
	if w.Limits.Unanswered == 0 {
		w.Limits.Unanswered = defaultUnanswered
	}
	if w.Limits.Streams == 0 {
		w.Limits.Streams = defaultStreams
	}
	cfg.Welcome = w
	return &Server{
		cfg: cfg, session: cfg.Session,
		payload:    int(min(w.Limits.Payload, wire.MaxPayload)),
		unanswered: int64(min(w.Limits.Unanswered, 1<<40)),
		feeds:      make(map[uint64]*feed, 1),
	}
}

// Grant returns what the peer may do; nil before Hello.
func (s *Server) Grant() *relay.Grant { return s.grant.Load() }

// Run serves until the session ends or ctx is done, which closes it with going_away. The error
// says why it ended: nil after the peer closed it in order.
func (s *Server) Run(ctx context.Context) error {
	goAway := func() { s.Close(relay.GoingAway, "the relay is stopping") }
	stop := context.AfterFunc(ctx, goAway)
	defer stop()
	defer s.shutdown()
	first, err := s.session.Accept(ctx)
	if err != nil {
		if ctx.Err() != nil {
			goAway() // before shutdown says done
		}
		return sessionError(s.session, err)
	}
	main := newLane(first, &s.writers, func(err error) {
		if errors.Is(err, errStalled) {
			s.session.Close(relay.SlowReader, err.Error())
		} else {
			s.session.Close(relay.Protocol, "the first stream was closed")
		}
	})
	s.mu.Lock() // Close may come at any time
	s.main = main
	s.mu.Unlock()
	st := s.requests(first, main)
	st.r.Limit(helloLimit)
	var hello *wire.Hello
	aside(func() { hello, err = s.hello(st) })
	if err != nil {
		return s.refuse(err)
	}
	st.r.Limit(s.frameLimit())
	if hello.GetStreams() > 0 {
		s.streams = make(map[*lane]struct{})
		s.readers.Go(s.acceptStreams)
	}
	switch err := st.serve(); {
	case err == nil:
		s.Close(relay.Done, "")
		return nil
	default:
		return s.refuse(err)
	}
}

func (s *Server) requests(in relay.ReceiveStream, l *lane) *requests {
	return &requests{server: s, lane: l, r: wire.NewReader(in)}
}

// helloLimit is the longest frame before Welcome, in bytes.
const helloLimit = 32 << 10

// frameLimit is the longest frame that the limits in Welcome allow, in bytes.
func (s *Server) frameLimit() int {
	const beside = wire.MaxKey + wire.MaxHeaders + 2<<10 // what a Publish has beside its payload
	return max(helloLimit, s.payload+beside)
}

// aside runs fn on a goroutine of its own and waits for it. A goroutine that rests keeps the
// stack that it once grew to, and one that reads requests rests most of its life: what is deep
// and rare (a token, a subscription) is done aside. It saves 7 KB a session.
func aside(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}

// hello reads the first frame, which must be Hello, and answers it.
func (s *Server) hello(st *requests) (*wire.Hello, error) {
	f, err := st.r.Next()
	if err != nil {
		return nil, err
	}
	if f.Type != wire.TypeHello || f.Ref != 0 {
		return nil, end(relay.Protocol, "the first frame is %v with ref %d; it must be Hello with ref 0", f.Type, f.Ref)
	}
	var hello wire.Hello
	if err := unmarshal(f, &hello); err != nil {
		return nil, err
	}
	if hello.VersionMin > 0 {
		return nil, end(relay.Unsupported, "minor version %d at least is wanted; this relay speaks 0", hello.VersionMin)
	}
	if len(hello.Agent) > maxAgent {
		return nil, end(relay.BadRequest, "agent of %d bytes; at most %d", len(hello.Agent), maxAgent)
	}
	grant, err := s.authorize(hello.Token)
	if err != nil {
		return nil, err
	}
	if s.cfg.Welcomed != nil {
		s.cfg.Welcomed()
	}
	expires := s.enforce(grant)
	w := proto.Clone(s.cfg.Welcome).(*wire.Welcome)
	w.TokenExpiresMs = millis(expires)
	s.lanes = int(min(uint64(hello.Lanes), uint64(s.cfg.MaxLanes)))

	s.mu.Lock()
	b := wire.AppendProto(s.main.begin(), wire.TypeWelcome, 0, w)
	if s.goAway != nil {
		b = wire.AppendProto(b, wire.TypeGoAway, 0, s.goAway)
	}
	s.main.commit(b)
	s.welcomed = true
	s.mu.Unlock()
	return &hello, nil
}

// authorize asks the Gate what a token allows.
func (s *Server) authorize(token string) (*relay.Grant, error) {
	if len(token) > wire.MaxToken {
		return nil, end(relay.Unauthorized, "token of %d bytes; at most %d", len(token), wire.MaxToken)
	}
	grant, e := s.cfg.Gate.Hello(token)
	if e.Code != relay.Done {
		return nil, e.Err()
	}
	return grant, nil
}

// enforce puts a grant in force, with the timer that ends the session with it, and returns how
// long that is; 0: never.
func (s *Server) enforce(grant *relay.Grant) (expires time.Duration) {
	s.mu.Lock() // streams may refresh at the same time
	defer s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if !grant.Expires.IsZero() {
		expires = max(time.Until(grant.Expires), time.Millisecond)
		s.expiry = time.AfterFunc(expires, func() {
			s.Close(relay.TokenExpired, "the token has expired; connect with a new one")
		})
	}
	s.grant.Store(grant)
	return expires
}

// acceptStreams serves the request streams beyond the first.
func (s *Server) acceptStreams() {
	// A client may open streams, reset them and open others: not faster than this.
	const perSecond, burst = 50, 2 * defaultStreams
	open := make(chan struct{}, s.cfg.Welcome.Limits.Streams)
	var rate allowance
	for {
		stream, err := s.session.Accept(context.Background())
		if err != nil {
			return
		}
		ok := rate.take(perSecond, burst)
		select {
		case open <- struct{}{}:
		default:
			ok = false
		}
		if !ok {
			s.Close(relay.RequestRate, fmt.Sprintf("streams were opened too fast: at most %d at once, %d a second", cap(open), perSecond))
			return
		}
		s.readers.Go(func() {
			defer func() { <-open }()
			s.serveStream(stream)
		})
	}
}

// serveStream serves one request stream beyond the first. Its end is not the session's, but
// for a violation of the protocol.
func (s *Server) serveStream(stream relay.Stream) {
	l := newLane(stream, &s.writers, func(err error) {
		code := relay.Cancelled
		if errors.Is(err, errStalled) {
			code = relay.SlowReader
		}
		stream.CancelWrite(code)
		stream.CancelRead(code)
	})
	s.mu.Lock()
	s.streams[l] = struct{}{}
	s.mu.Unlock()
	st := s.requests(stream, l)
	st.r.Limit(s.frameLimit())
	err := st.serve()
	if reset, ok := errors.AsType[*relay.StreamError](err); ok || err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		if ok && reset.Remote {
			s.cancelLane(l)
		}
		done := make(chan struct{})
		l.noMore()
		l.whenDrained(func() { close(done) })
		<-done
		s.abandon(l)
		s.mu.Lock()
		delete(s.streams, l)
		s.mu.Unlock()
		return
	}
	if s.session.Context().Err() == nil {
		_ = s.refuse(err)
	}
}

// GoAway asks the peer to go elsewhere before the deadline, without waiting for it.
func (s *Server) GoAway(reason relay.Code, deadline time.Duration, alternatives []string) {
	m := &wire.GoAway{Reason: uint32(reason), DeadlineMs: millis(deadline), Alternatives: clipAlternatives(alternatives)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goAway = m
	if s.welcomed && !s.closing {
		s.main.commit(wire.AppendProto(s.main.begin(), wire.TypeGoAway, 0, m))
	}
}

// Close ends the session: an End with ref 0 goes out, then the connection closes, when the peer
// has hung up or closeWithin is over: WebTransport and QUIC drop what has not arrived by then.
// Until then requests are read and dropped. It does not wait.
func (s *Server) Close(code relay.Code, reason string) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.closing = true
	main := s.main
	s.mu.Unlock()
	hangUp := func() { s.session.Close(code, reason) }
	if main == nil {
		hangUp()
		return
	}
	if code != relay.Done {
		s.over.Store(true)
		main.commit(appendEnd(main.begin(), 0, relay.End{Code: code, Detail: reason}, relay.Position{}))
	}
	late := time.AfterFunc(closeWithin, hangUp)
	context.AfterFunc(s.session.Context(), func() { late.Stop() })
	if code == relay.Done {
		main.whenDrained(hangUp)
	}
}

// refuse ends the session for what err says of the peer's bytes, and returns err.
func (s *Server) refuse(err error) error {
	var e *relay.Error
	switch {
	case errors.As(err, &e):
		s.Close(e.End.Code, e.End.Detail)
	case errors.Is(err, wire.ErrUnsupported):
		s.Close(relay.Unsupported, err.Error())
	case errors.Is(err, wire.ErrTooLarge):
		s.Close(relay.TooLarge, err.Error())
	case errors.Is(err, wire.ErrMalformed):
		s.Close(relay.Protocol, err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		s.Close(relay.Protocol, "the first stream ended within a frame, or before Hello")
	default:
		err = sessionError(s.session, err)
		s.session.Close(relay.Protocol, "the first stream was reset")
	}
	return err
}

// shutdown ends every goroutine and every subscription. Invariant: when it returns, nothing of
// the session runs any more.
func (s *Server) shutdown() {
	s.mu.Lock()
	closing := s.closing
	s.closing = true
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.mu.Unlock()
	if closing {
		<-s.session.Context().Done() // Close hangs up within closeWithin
	} else {
		s.session.Close(relay.Done, "")
	}
	s.killAll() // so that no reader waits for room
	s.readers.Wait()
	s.killAll() // what the readers opened since
	s.writers.Wait()
	s.mu.Lock()
	feeds := s.feeds
	s.feeds = nil
	s.mu.Unlock()
	for _, f := range feeds {
		f.sub.Close()
		s.cfg.Gate.Unsubscribe(f.channel)
	}
}

func (s *Server) killAll() {
	s.mu.Lock()
	var lanes []*lane
	for l := range s.streams {
		lanes = append(lanes, l)
	}
	for _, f := range s.feeds {
		lanes = append(lanes, f.lane)
	}
	if s.main != nil {
		lanes = append(lanes, s.main)
	}
	if s.dgrams != nil {
		s.dgrams.kill()
	}
	s.mu.Unlock()
	for _, l := range lanes {
		l.kill()
	}
}

// sessionError prefers the reason for which the session ended over what a call returned.
func sessionError(session relay.Session, err error) error {
	if cause := context.Cause(session.Context()); cause != nil {
		if e, ok := errors.AsType[*relay.CloseError](cause); ok && e.Remote && e.Code == relay.Done {
			return nil
		}
		return cause
	}
	return err
}

// end returns an error with a code and a detail for the peer.
func end(code relay.Code, format string, args ...any) error {
	return relay.End{Code: code, Detail: fmt.Sprintf(format, args...)}.Err()
}
