package transport

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

// closeLinger is how long a session's connection stays after the session was closed here, so
// that the close capsule is delivered. The peer usually ends it before.
const closeLinger = time.Second

var _ relay.Session = (*wtSession)(nil)

// A wtSession is a session over WebTransport.
type wtSession struct {
	// set at construction
	ctx    context.Context
	cancel context.CancelCauseFunc
	wt     *webtransport.Session
	conn   *quic.Conn
	peer   relay.Peer
	tasks  *tasks // of the owner

	// own is what the first Close here was told. Invariant: where it is the cause of ctx, Close
	// ends the connection, else over does.
	own atomic.Pointer[relay.CloseError]
}

func newWTSession(wt *webtransport.Session, conn *quic.Conn, peer relay.Peer, tasks *tasks) *wtSession {
	s := &wtSession{wt: wt, conn: conn, peer: peer, tasks: tasks}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	context.AfterFunc(wt.Context(), s.over)
	return s
}

// over runs when the carrier's session has ended.
func (s *wtSession) over() {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	// The cause is told by any method; Accept with a context that is done never waits.
	_, err := s.wt.AcceptUniStream(done)
	for err == nil {
		_, err = s.wt.AcceptUniStream(done)
	}
	if e, ok := errors.AsType[*http3.Error](err); ok {
		// The CONNECT stream broke. If that is because the connection ended, its cause says
		// more, but comes an instant later.
		wait := 50 * time.Millisecond
		if e.ErrorCode == http3.ErrCode(webtransport.WTSessionGoneErrorCode) {
			// The peer closed the session, and the library met that on a write of its own
			// before it read why. The end of the connection will say it again.
			wait += closeLinger
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-s.conn.Context().Done():
			err = context.Cause(s.conn.Context())
		case <-t.C:
		}
	}
	ce := closed(err)
	if ce == nil {
		ce = &relay.CloseError{Code: relay.LinkLost, Reason: clipReason(err.Error())}
	}
	s.cancel(ce)
	if context.Cause(s.ctx) != error(s.own.Load()) {
		_ = s.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
}

func (s *wtSession) Close(code relay.Code, reason string) {
	ce := &relay.CloseError{Code: code, Reason: clipReason(reason)}
	if !s.own.CompareAndSwap(nil, ce) {
		return
	}
	s.cancel(ce)
	if context.Cause(s.ctx) != error(ce) {
		return
	}
	s.tasks.Go(func() {
		_ = s.wt.CloseWithError(webtransport.SessionErrorCode(code), ce.Reason)
		t := time.NewTimer(closeLinger)
		defer t.Stop()
		select {
		case <-s.conn.Context().Done():
		case <-t.C:
		}
		_ = s.conn.CloseWithError(quic.ApplicationErrorCode(connCode+uint64(code)), ce.Reason)
	})
}

// lost returns the session's end if err says that it ended, else err.
func (s *wtSession) lost(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	ce := closed(err)
	if ce == nil {
		return err
	}
	if _, ok := errors.AsType[*http3.Error](err); ok {
		<-s.wt.Context().Done() // at once: the library ends a session so
		<-s.ctx.Done()
		return context.Cause(s.ctx)
	}
	s.cancel(ce)
	return context.Cause(s.ctx)
}

func (s *wtSession) Context() context.Context { return s.ctx }
func (s *wtSession) Peer() relay.Peer         { return s.peer }

func (s *wtSession) Accept(ctx context.Context) (relay.Stream, error) {
	str, err := s.wt.AcceptStream(ctx)
	if err != nil {
		return nil, sessionError(ctx, err, s)
	}
	return &wtStream{wtSend{str, s}, wtReceive{str, s}}, nil
}

func (s *wtSession) Open(ctx context.Context) (relay.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	str, err := s.wt.OpenStream()
	if err != nil {
		return nil, sessionError(ctx, err, s)
	}
	return &wtStream{wtSend{str, s}, wtReceive{str, s}}, nil
}

func (s *wtSession) AcceptUni(ctx context.Context) (relay.ReceiveStream, error) {
	str, err := s.wt.AcceptUniStream(ctx)
	if err != nil {
		return nil, sessionError(ctx, err, s)
	}
	return &wtReceive{str, s}, nil
}

func (s *wtSession) OpenUni() (relay.SendStream, error) {
	str, err := s.wt.OpenUniStream()
	if err != nil {
		return nil, sessionError(s.ctx, err, s)
	}
	return &wtSend{str, s}, nil
}

func (s *wtSession) SendDatagram(b []byte) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return datagramError(s.wt.SendDatagram(b), s)
}

func (s *wtSession) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := s.wt.ReceiveDatagram(ctx)
	return b, sessionError(ctx, err, s)
}
