package transport

import (
	"io"
	"time"

	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

var (
	_ relay.Stream        = (*wtStream)(nil)
	_ relay.SendStream    = (*wtSend)(nil)
	_ relay.ReceiveStream = (*wtReceive)(nil)
)

// The halves of a WebTransport stream, uni- or bidirectional.
type (
	wtSendHalf interface {
		io.WriteCloser
		CancelWrite(webtransport.StreamErrorCode)
		SetWriteDeadline(time.Time) error
	}
	wtReceiveHalf interface {
		io.Reader
		CancelRead(webtransport.StreamErrorCode)
		SetReadDeadline(time.Time) error
	}
)

type wtSend struct {
	str     wtSendHalf
	session *wtSession
}

func (s *wtSend) Write(p []byte) (int, error) {
	n, err := s.str.Write(p)
	return n, streamError(err, s.session)
}

func (s *wtSend) Close() error { return streamError(s.str.Close(), s.session) }

func (s *wtSend) CancelWrite(code relay.Code) {
	s.str.CancelWrite(webtransport.StreamErrorCode(code))
}

func (s *wtSend) SetWriteDeadline(t time.Time) error {
	return streamError(s.str.SetWriteDeadline(t), s.session)
}

type wtReceive struct {
	str     wtReceiveHalf
	session *wtSession
}

func (r *wtReceive) Read(p []byte) (int, error) {
	n, err := r.str.Read(p)
	return n, streamError(err, r.session)
}

func (r *wtReceive) CancelRead(code relay.Code) {
	r.str.CancelRead(webtransport.StreamErrorCode(code))
}

func (r *wtReceive) SetReadDeadline(t time.Time) error {
	return streamError(r.str.SetReadDeadline(t), r.session)
}

type wtStream struct {
	wtSend
	wtReceive
}
