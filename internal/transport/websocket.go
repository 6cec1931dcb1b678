package transport

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/meridian-relay/meridian/relay"
)

// wsCode is added to a code that travels as a WebSocket close status.
const wsCode = 4000

var _ relay.Session = (*wsSession)(nil)

// A wsSession is a session over WebSocket: one stream, which the client opens.
type wsSession struct {
	// set at construction
	ctx       context.Context
	cancel    context.CancelCauseFunc
	ws        *websocket.Conn
	tcp       *tcpConn
	peer      relay.Peer
	tasks     *tasks // of the owner
	client    bool
	idle      time.Duration
	keepAlive time.Duration
	stream    wsStream

	taken   atomic.Bool // the stream was handed out
	waiting atomic.Bool // the pump waits for the stream's reader

	mu    sync.Mutex
	timer *time.Timer // of the next beat; nil once the session has ended
}

func newWSSession(ws *websocket.Conn, tcp *tcpConn, peer relay.Peer, client bool, t times, tasks *tasks) *wsSession {
	s := &wsSession{
		ws: ws, tcp: tcp, peer: peer, client: client, tasks: tasks,
		idle: t.idle, keepAlive: t.keepAlive,
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.stream.init(s)
	tcp.bePatient()
	ws.SetReadLimit(-1) // nothing of a message is kept: it is a part of a byte stream
	s.timer = time.AfterFunc(s.keepAlive, s.beat)
	tasks.Go(s.pump)
	return s
}

// chunks are what the pump reads into while a message comes in; an idle session holds none.
var chunks = sync.Pool{New: func() any { return new([4096]byte) }}

// pump reads until the connection ends: only so are closes and pings seen.
func (s *wsSession) pump() {
	defer func() {
		s.mu.Lock()
		s.timer.Stop()
		s.timer = nil
		s.mu.Unlock()
		_ = s.ws.CloseNow()
	}()
	for {
		typ, r, err := s.ws.Reader(context.Background())
		if err != nil {
			s.cancel(wsClosed(err))
			return
		}
		err = s.message(typ, r)
		if e, ok := errors.AsType[*relay.CloseError](err); ok {
			// leave waits for the peer's answer, which this goroutine reads: go on.
			s.cancel(e)
			s.leave(e)
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			s.cancel(wsClosed(err))
			return
		}
	}
}

// message takes one message in. A *relay.CloseError is the peer's mistake.
func (s *wsSession) message(typ websocket.MessageType, r io.Reader) error {
	buf := chunks.Get().(*[4096]byte)
	defer chunks.Put(buf)
	if typ == websocket.MessageText {
		n, err := io.ReadFull(r, buf[:maxControl+1])
		if err == nil {
			n = maxControl + 1 // too long, and refused as such
			if _, err := io.Copy(io.Discard, r); err != nil {
				return err
			}
		} else if err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if s.ctx.Err() != nil {
			return nil
		}
		return s.stream.control(string(buf[:n]))
	}
	for {
		n, err := r.Read(buf[:])
		if n > 0 && s.ctx.Err() == nil {
			if err := s.stream.feed(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// wsClosed says how a session ended whose connection failed with err.
func wsClosed(err error) *relay.CloseError {
	if e, ok := errors.AsType[*relay.CloseError](err); ok {
		return e
	}
	e, ok := errors.AsType[websocket.CloseError](err)
	if !ok {
		return &relay.CloseError{Code: relay.LinkLost, Reason: clipReason(err.Error())}
	}
	ce := &relay.CloseError{Code: relay.LinkLost, Reason: clipReason(e.Reason), Remote: true}
	switch {
	case e.Code >= wsCode && e.Code <= wsCode+999:
		ce.Code = relay.Code(e.Code - wsCode)
	case e.Code == websocket.StatusNormalClosure:
		ce.Code = relay.Done
	case e.Code == websocket.StatusProtocolError:
		ce.Code = relay.Protocol
	}
	return ce
}

// beat keeps the connection alive, and ends it when it is dead.
func (s *wsSession) beat() {
	if s.ctx.Err() != nil {
		return
	}
	switch {
	case s.waiting.Load():
		// Nothing is read because nobody here reads: that is no sign of the peer.
	case s.tcp.silent() > s.idle:
		s.cancel(&relay.CloseError{Code: relay.LinkLost, Reason: "nothing was heard for " + s.idle.String()})
		_ = s.ws.CloseNow()
		return
	case s.tcp.settled() == nil:
		ctx, cancel := context.WithTimeout(s.ctx, s.keepAlive)
		_ = s.ws.Ping(ctx) // its answer is heard as bytes
		cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Reset(s.keepAlive)
	}
}

func (s *wsSession) Close(code relay.Code, reason string) {
	ce := &relay.CloseError{Code: code, Reason: clipReason(reason)}
	s.cancel(ce)
	if context.Cause(s.ctx) != error(ce) {
		return
	}
	s.leave(ce)
}

// leave says goodbye and ends the connection.
func (s *wsSession) leave(ce *relay.CloseError) {
	s.tasks.Go(func() {
		kill := time.AfterFunc(closeLinger, func() { _ = s.tcp.Close() })
		defer kill.Stop()
		_ = s.ws.Close(websocket.StatusCode(wsCode+int(ce.Code)), ce.Reason)
	})
}

func (s *wsSession) Context() context.Context { return s.ctx }
func (s *wsSession) Peer() relay.Peer         { return s.peer }

func (s *wsSession) Accept(ctx context.Context) (relay.Stream, error) {
	if err := context.Cause(s.ctx); err != nil {
		return nil, err
	}
	if !s.client && s.taken.CompareAndSwap(false, true) {
		return &s.stream, nil
	}
	return nil, s.wait(ctx)
}

func (s *wsSession) Open(ctx context.Context) (relay.Stream, error) {
	if err := context.Cause(s.ctx); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.client && s.taken.CompareAndSwap(false, true) {
		return &s.stream, nil
	}
	return nil, relay.ErrNoStreams
}

// wait waits for what never comes.
func (s *wsSession) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *wsSession) AcceptUni(ctx context.Context) (relay.ReceiveStream, error) {
	return nil, s.wait(ctx)
}

func (s *wsSession) OpenUni() (relay.SendStream, error) {
	if err := context.Cause(s.ctx); err != nil {
		return nil, err
	}
	return nil, relay.ErrNoStreams
}

func (s *wsSession) SendDatagram([]byte) error { return relay.ErrNoDatagrams }

func (s *wsSession) ReceiveDatagram(context.Context) ([]byte, error) {
	return nil, relay.ErrNoDatagrams
}
