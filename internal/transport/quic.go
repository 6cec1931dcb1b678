package transport

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/meridian-relay/meridian/relay"
)

var _ relay.Session = (*quicSession)(nil)

// A quicSession is a session over QUIC without HTTP.
type quicSession struct {
	// set at construction
	ctx       context.Context
	cancel    context.CancelCauseFunc
	conn      *quic.Conn
	peer      relay.Peer
	tasks     *tasks // of the owner
	datagrams bool
}

func newQUICSession(conn *quic.Conn, peer relay.Peer, tasks *tasks) *quicSession {
	have := conn.ConnectionState().SupportsDatagrams
	s := &quicSession{conn: conn, peer: peer, tasks: tasks, datagrams: have.Local && have.Remote}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	context.AfterFunc(conn.Context(), func() { s.cancel(quicClosed(context.Cause(conn.Context()))) })
	return s
}

// quicClosed is closed for a connection without HTTP/3, whose error codes are relay.Codes.
func quicClosed(err error) *relay.CloseError {
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return &relay.CloseError{Code: codeOf(e.ErrorCode), Reason: clipReason(e.ErrorMessage), Remote: e.Remote}
	}
	return closed(err)
}

func (s *quicSession) Close(code relay.Code, reason string) {
	ce := &relay.CloseError{Code: code, Reason: clipReason(reason)}
	s.cancel(ce)
	if context.Cause(s.ctx) != error(ce) {
		return
	}
	s.tasks.Go(func() { _ = s.conn.CloseWithError(quic.ApplicationErrorCode(code), ce.Reason) })
}

func (s *quicSession) lost(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	ce := quicClosed(err)
	if ce == nil {
		return err
	}
	s.cancel(ce)
	return context.Cause(s.ctx)
}

func (s *quicSession) Context() context.Context { return s.ctx }
func (s *quicSession) Peer() relay.Peer         { return s.peer }

func (s *quicSession) Accept(ctx context.Context) (relay.Stream, error) {
	str, err := s.conn.AcceptStream(ctx)
	if err != nil {
		return nil, sessionError(ctx, err, s)
	}
	return &quicStream{quicSend{str, s}, quicReceive{str, s}}, nil
}

func (s *quicSession) Open(ctx context.Context) (relay.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	str, err := s.conn.OpenStream()
	if err != nil {
		return nil, sessionError(ctx, err, s)
	}
	return &quicStream{quicSend{str, s}, quicReceive{str, s}}, nil
}

func (s *quicSession) AcceptUni(ctx context.Context) (relay.ReceiveStream, error) {
	str, err := s.conn.AcceptUniStream(ctx)
	if err != nil {
		return nil, sessionError(ctx, err, s)
	}
	return &quicReceive{str, s}, nil
}

func (s *quicSession) OpenUni() (relay.SendStream, error) {
	str, err := s.conn.OpenUniStream()
	if err != nil {
		return nil, sessionError(s.ctx, err, s)
	}
	return &quicSend{str, s}, nil
}

func (s *quicSession) SendDatagram(b []byte) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if !s.datagrams {
		return relay.ErrNoDatagrams
	}
	return datagramError(s.conn.SendDatagram(b), s)
}

func (s *quicSession) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	if !s.datagrams {
		return nil, relay.ErrNoDatagrams
	}
	b, err := s.conn.ReceiveDatagram(ctx)
	return b, sessionError(ctx, err, s)
}

// The halves of a QUIC stream, uni- or bidirectional.
type (
	quicSendHalf interface {
		io.WriteCloser
		CancelWrite(quic.StreamErrorCode)
		SetWriteDeadline(time.Time) error
	}
	quicReceiveHalf interface {
		io.Reader
		CancelRead(quic.StreamErrorCode)
		SetReadDeadline(time.Time) error
	}
)

type quicSend struct {
	str     quicSendHalf
	session *quicSession
}

func (s *quicSend) Write(p []byte) (int, error) {
	n, err := s.str.Write(p)
	return n, streamError(err, s.session)
}

func (s *quicSend) Close() error                { return streamError(s.str.Close(), s.session) }
func (s *quicSend) CancelWrite(code relay.Code) { s.str.CancelWrite(quic.StreamErrorCode(code)) }

func (s *quicSend) SetWriteDeadline(t time.Time) error {
	return streamError(s.str.SetWriteDeadline(t), s.session)
}

type quicReceive struct {
	str     quicReceiveHalf
	session *quicSession
}

func (r *quicReceive) Read(p []byte) (int, error) {
	n, err := r.str.Read(p)
	return n, streamError(err, r.session)
}

func (r *quicReceive) CancelRead(code relay.Code) { r.str.CancelRead(quic.StreamErrorCode(code)) }

func (r *quicReceive) SetReadDeadline(t time.Time) error {
	return streamError(r.str.SetReadDeadline(t), r.session)
}

type quicStream struct {
	quicSend
	quicReceive
}
