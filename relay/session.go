package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Errors of a Session.
var (
	// ErrNoStreams: the peer allows no further stream for now, or the carrier has none.
	ErrNoStreams = errors.New("no further stream allowed")
	// ErrNoDatagrams: the carrier, or the peer, has no datagrams.
	ErrNoDatagrams = errors.New("no datagrams on this session")
	// ErrDatagramTooLarge: the datagram does not fit the path.
	ErrDatagramTooLarge = errors.New("datagram too large for the path")
)

// A CloseError is the cause of a session's end, from Context and from blocked calls.
type CloseError struct {
	Code   Code
	Reason string
	Remote bool // closed by the peer
}

func (e *CloseError) Error() string {
	by := "here"
	if e.Remote {
		by = "by the peer"
	}
	return fmt.Sprintf("session closed %s: %v: %s", by, e.Code, e.Reason)
}

// A StreamError is what Read and Write return after a reset, by either side.
type StreamError struct {
	Code   Code
	Remote bool
}

func (e *StreamError) Error() string { return fmt.Sprintf("stream reset: %v", e.Code) }

// A Carrier is what a session runs over.
type Carrier string

const (
	WebTransport Carrier = "webtransport"
	WebSocket    Carrier = "websocket"
	QUIC         Carrier = "quic"
)

// A Peer describes the other side of a session.
type Peer struct {
	Carrier Carrier
	Addr    netip.AddrPort
	Origin  string // a browser's; empty: not a browser
	// Names are the URI and DNS names of a verified certificate; none without one.
	Names []string
}

// A Session is one connection that offers streams and datagrams. Methods are safe for
// concurrent use. Implementations: internal/transport.
type Session interface {
	// Accept waits for the next bidirectional stream that the peer opened.
	Accept(ctx context.Context) (Stream, error)
	// Open opens a bidirectional stream; ErrNoStreams where none is allowed.
	Open(ctx context.Context) (Stream, error)
	// AcceptUni waits for the next unidirectional stream that the peer opened.
	AcceptUni(ctx context.Context) (ReceiveStream, error)
	// OpenUni opens a unidirectional stream without waiting; ErrNoStreams where none is
	// allowed.
	OpenUni() (SendStream, error)
	// SendDatagram sends b, which it copies. It may wait while the carrier's queue is full.
	SendDatagram(b []byte) error
	// ReceiveDatagram waits for a datagram.
	ReceiveDatagram(ctx context.Context) ([]byte, error)
	// Close ends the session and its connection; the peer learns code and reason (at most
	// 123 bytes). Only the first call counts. It returns at once.
	Close(code Code, reason string)
	// Context is done when the session has ended; its cause is a *CloseError.
	Context() context.Context
	// Peer describes the other side.
	Peer() Peer
}

// A SendStream is a stream's sending half. Write is for one goroutine at a time; the others
// may be called at any time.
type SendStream interface {
	io.Writer
	// Close sends FIN: the peer reads everything written, then io.EOF.
	Close() error
	// CancelWrite resets the half: unsent data is dropped.
	CancelWrite(code Code)
	SetWriteDeadline(t time.Time) error
}

// A ReceiveStream is a stream's receiving half. Read is for one goroutine at a time.
type ReceiveStream interface {
	io.Reader
	// CancelRead tells the peer to stop sending.
	CancelRead(code Code)
	SetReadDeadline(t time.Time) error
}

// A Stream is bidirectional.
type Stream interface {
	SendStream
	ReceiveStream
}
