package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/meridian-relay/meridian/relay"
)

// connCode is added to a code that travels as an HTTP/3 connection's error code.
const connCode = 0x4d520000

// maxReason is the longest reason of a close, in bytes: what a WebSocket close frame holds.
const maxReason = 123

// clipReason shortens a reason to maxReason bytes of UTF-8.
func clipReason(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// codeOf returns a number from the wire as a code; a number that is none becomes LinkLost.
func codeOf[N ~uint32 | ~uint64 | ~int](n N) relay.Code {
	if n > 999 {
		return relay.LinkLost
	}
	return relay.Code(n)
}

// closed makes a CloseError of the error that ended a connection or a session; nil if err does
// not say that one ended.
func closed(err error) *relay.CloseError {
	if e, ok := errors.AsType[*relay.CloseError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*webtransport.SessionError](err); ok {
		return &relay.CloseError{Code: codeOf(e.ErrorCode), Reason: clipReason(e.Message), Remote: e.Remote}
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		ce := &relay.CloseError{Code: relay.LinkLost, Reason: clipReason(e.ErrorMessage), Remote: e.Remote}
		if n := uint64(e.ErrorCode); n >= connCode && n <= connCode+999 {
			ce.Code = relay.Code(n - connCode)
		}
		return ce
	}
	lost := &relay.CloseError{Code: relay.LinkLost, Reason: "the connection was lost"}
	if err != nil {
		lost.Reason = clipReason(err.Error())
	}
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return lost
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return lost
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return lost
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		lost.Remote = e.Remote
		return lost
	}
	if _, ok := errors.AsType[*http3.Error](err); ok {
		return lost
	}
	if errors.Is(err, net.ErrClosed) {
		return lost
	}
	return nil
}

// streamError translates what a QUIC or WebTransport stream returns. session ends with the
// error, if that is what it says.
func streamError(err error, session interface{ lost(error) error }) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if e, ok := errors.AsType[*webtransport.StreamError](err); ok {
		return &relay.StreamError{Code: codeOf(e.ErrorCode), Remote: e.Remote}
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		return &relay.StreamError{Code: codeOf(e.ErrorCode), Remote: e.Remote}
	}
	return session.lost(err)
}

// sessionError translates what a method of a session with a context returns.
func sessionError(ctx context.Context, err error, session interface{ lost(error) error }) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	if isStreamLimit(err) {
		return relay.ErrNoStreams
	}
	return session.lost(err)
}

func isStreamLimit(err error) bool {
	if _, ok := errors.AsType[*webtransport.StreamLimitReachedError](err); ok {
		return true
	}
	_, ok := errors.AsType[*quic.StreamLimitReachedError](err)
	return ok
}

func datagramError(err error, session interface{ lost(error) error }) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return relay.ErrDatagramTooLarge
	}
	return session.lost(err)
}
