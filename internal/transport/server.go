package transport

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

// drainHTTP is how long requests may go on when a Server stops.
const drainHTTP = 2 * time.Second

// A Server serves sessions and HTTP on one port number, UDP and TCP.
type Server struct {
	// set at construction
	config   ServerConfig
	lobby    *lobby
	counters counters
	tasks    tasks // sessions, and what outlives them

	// owned by Run
	h3      *webtransport.Server // nil without PacketConn
	carrier *quic.Transport

	started atomic.Bool

	mu       sync.Mutex
	sessions map[relay.Session]struct{} // nil: stopping
}

// NewServer checks the configuration.
func NewServer(c ServerConfig) (*Server, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, sessions: make(map[relay.Session]struct{})}
	s.lobby = &lobby{
		within:     c.HelloWithin,
		unwelcomed: tally{most: c.MaxUnwelcomed, mostPer: c.MaxUnwelcomedPerAddr},
		http:       tally{most: c.MaxHTTP, mostPer: c.MaxHTTPPerAddr},
		windows:    windows{budget: c.WindowBudget},
		retryAbove: c.RetryAbove,
		stats:      &s.counters,
	}
	return s, nil
}

// Run serves until ctx is done or a listener fails. It closes the listeners and every session,
// with GoingAway, and returns when all that it started has ended. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("transport: Run was called twice")
	}
	caller := ctx
	ctx, stop := context.WithCancelCause(caller)
	defer stop(nil)
	var running sync.WaitGroup
	var stops []func()
	start := func(run func() error, halt func()) {
		stops = append(stops, halt)
		running.Go(func() {
			if err := run(); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}

	if s.config.PacketConn != nil {
		run, halt, err := s.listenQUIC()
		if err != nil {
			return err
		}
		start(run, halt)
	}
	if s.config.Listener != nil {
		start(s.serveTCP(s.config.Listener, true))
	}
	if s.config.Plain != nil {
		start(s.serveTCP(s.config.Plain, false))
	}

	<-ctx.Done()
	s.closeAll()
	var halting sync.WaitGroup
	for _, halt := range stops {
		halting.Go(halt)
	}
	halting.Wait()
	running.Wait()
	s.tasks.Wait()
	if s.carrier != nil {
		_ = s.carrier.Close()
		_ = s.config.PacketConn.Close()
	}
	if caller.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// closeAll ends every session, and every one that comes.
func (s *Server) closeAll() {
	s.mu.Lock()
	sessions := s.sessions
	s.sessions = nil
	s.mu.Unlock()
	for session := range sessions {
		session.Close(relay.GoingAway, "the relay is stopping")
	}
}

// serve runs a session on a goroutine of its own.
func (s *Server) serve(session relay.Session, g *guest, count *gauge) {
	s.mu.Lock()
	stopping := s.sessions == nil
	if !stopping {
		s.sessions[session] = struct{}{}
	}
	s.mu.Unlock()
	if stopping {
		session.Close(relay.GoingAway, "the relay is stopping")
		return
	}
	count.Add(1)
	s.tasks.Go(func() {
		s.config.Serve(session.Context(), session, g.welcome)
		session.Close(relay.Done, "")
		count.Add(-1)
		s.mu.Lock()
		delete(s.sessions, session)
		s.mu.Unlock()
	})
	g.holds(session)
}

// ServeHTTP answers a request of any version of HTTP: for a session, or for Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := guestOf(r.Context())
	g.handshaken()
	if r.URL.Path == SessionPath {
		s.openSession(w, r, g)
		return
	}
	if !g.request() {
		if r.ProtoMajor == 1 { // the others forbid this field
			w.Header().Set("Connection", "close")
		}
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	if r.ProtoMajor == 3 {
		// The other servers have these limits built in.
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(readWithin))
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin))
	}
	s.config.Handler.ServeHTTP(w, r)
}
