package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/internal/bench/meter"
)

// A Config says what to dial and how.
type Config struct {
	Addr  string // IP:PORT, UDP
	Path  string // of the WebTransport endpoint
	Token string // empty: none
	// Bare: the server is the baseline: it speaks at once and takes no requests.
	Bare bool
	// FlowControl offers session flow control, as Safari does; without it the session is
	// like Chromium's.
	FlowControl bool
	// Lanes is how many streams of its own a session's subscriptions may have. 0: none.
	Lanes int
	// Window is the credit of a subscription in bytes. 0: 64 KiB.
	Window uint64
}

// A Load is a number of sessions to one server. Methods are for one goroutine at a time.
type Load struct {
	cfg    Config
	udp    net.PacketConn
	quic   *quic.Transport
	wt     *webtransport.Transport
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	sessions []*session
	tally    tally
	paused   atomic.Pointer[chan struct{}] // closed to read on; nil: reading
	closing  atomic.Bool
}

// New returns a load without sessions.
func New(cfg Config) (*Load, error) {
	if cfg.Window == 0 {
		cfg.Window = 64 << 10
	}
	conn, err := meter.Listen()
	if err != nil {
		return nil, fmt.Errorf("listen for clients: %w", err)
	}
	l := &Load{cfg: cfg, udp: conn, quic: &quic.Transport{Conn: conn}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.wt = &webtransport.Transport{
		// The server is this benchmark's own, on loopback: its certificate proves nothing.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{http3.NextProtoH3}},
		QUICConfig: &quic.Config{
			EnableDatagrams: true, EnableStreamResetPartialDelivery: true,
			MaxIdleTimeout: 40 * time.Second, KeepAlivePeriod: 15 * time.Second,
			MaxIncomingUniStreams: int64(max(cfg.Lanes, 1)) + 8,
		},
		DialAddr: func(ctx context.Context, addr string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
			to, err := net.ResolveUDPAddr("udp", addr)
			if err != nil {
				return nil, err
			}
			return l.quic.Dial(ctx, to, t, q)
		},
	}
	if cfg.FlowControl {
		l.wt.Config = &webtransport.Config{
			MaxIncomingStreams: 1, MaxIncomingUniStreams: int64(max(cfg.Lanes, 1)),
			MaxIncomingData: 1 << 20,
		}
	}
	return l, nil
}

// Dial opens n more sessions and, with Meridian, says Hello on each.
func (l *Load) Dial(n int) error {
	fresh := make([]*session, n)
	limit := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range fresh {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			s, err := l.dialAgain()
			if err != nil {
				l.fail(fmt.Errorf("session %d: %w", i, err))
				return
			}
			fresh[i] = s
		})
	}
	wg.Wait()
	if err := l.Err(); err != nil {
		return err
	}
	l.sessions = append(l.sessions, fresh...)
	return nil
}

// dialAgain dials up to three times: on a machine that is busy a server may give a client up that
// has not said Hello in time.
func (l *Load) dialAgain() (s *session, err error) {
	for range 3 {
		if s, err = l.dial(); err == nil || l.ctx.Err() != nil {
			return s, err
		}
	}
	return nil, err
}

func (l *Load) dial() (*session, error) {
	ctx, cancel := context.WithTimeout(l.ctx, 30*time.Second)
	defer cancel()
	_, wt, err := l.wt.Dial(ctx, "https://"+l.cfg.Addr+l.cfg.Path, http.Header{})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", l.cfg.Addr, err)
	}
	s := newSession(l, wt)
	if !l.cfg.Bare {
		if err := s.hello(ctx); err != nil {
			_ = wt.CloseWithError(0, "")
			return nil, err
		}
	}
	if l.cfg.Bare || l.cfg.Lanes > 0 {
		l.wg.Go(s.acceptUni)
	}
	return s, nil
}

// fail remembers the first failure and ends everything.
func (l *Load) fail(err error) {
	if !l.closing.Load() {
		l.cancel(err)
	}
}

// Err returns the first failure.
func (l *Load) Err() error { return context.Cause(l.ctx) }

// Subscribe has every session subscribe to the channels, live, and waits for the answers.
func (l *Load) Subscribe(channels []string, own bool) error {
	for _, s := range l.sessions {
		if err := s.subscribe(channels, own); err != nil {
			l.fail(err)
			return l.Err()
		}
	}
	for _, s := range l.sessions {
		if err := s.subscribed(l.ctx, 60*time.Second); err != nil {
			l.fail(err)
			return l.Err()
		}
	}
	return nil
}

// Pause has every session stop reading, or read on.
func (l *Load) Pause(pause bool) {
	if pause {
		c := make(chan struct{})
		l.paused.CompareAndSwap(nil, &c)
		return
	}
	if c := l.paused.Swap(nil); c != nil {
		close(*c)
	}
}

// reading waits while the load is paused.
func (l *Load) reading() {
	if c := l.paused.Load(); c != nil {
		select {
		case <-*c:
		case <-l.ctx.Done():
		}
	}
}

// Close ends every session and waits for the goroutines.
func (l *Load) Close() {
	l.closing.Store(true)
	l.cancel(context.Canceled)
	var wg sync.WaitGroup
	for _, s := range l.sessions {
		wg.Go(s.close)
	}
	wg.Wait()
	l.wg.Wait()
	_ = l.quic.Close()
	_ = l.udp.Close()
	_ = l.wt.Close()
}
