package link

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// pipeSession is a relay.Session in memory, for tests in virtual time. A stream holds up to
// room bytes that were not read.
type pipeSession struct {
	room    int
	peer    *pipeSession
	info    relay.Peer
	ctx     context.Context
	cancel  context.CancelCauseFunc
	streams chan relay.Stream
	unis    chan relay.ReceiveStream
	dgrams  chan []byte

	mu   sync.Mutex
	open []*pipeHalf
}

// newPipe returns the two ends of a session.
func newPipe(room int) (client, server *pipeSession) {
	make1 := func() *pipeSession {
		s := &pipeSession{
			room: room, info: relay.Peer{Carrier: relay.WebTransport},
			streams: make(chan relay.Stream, 64), unis: make(chan relay.ReceiveStream, 1024),
			dgrams: make(chan []byte, 4),
		}
		s.ctx, s.cancel = context.WithCancelCause(context.Background())
		return s
	}
	client, server = make1(), make1()
	client.peer, server.peer = server, client
	return client, server
}

func (s *pipeSession) half() *pipeHalf {
	h := &pipeHalf{room: s.room}
	h.cond = sync.NewCond(&h.mu)
	s.mu.Lock()
	s.open = append(s.open, h)
	s.mu.Unlock()
	return h
}

type pipeStream struct {
	*pipeReader
	*pipeWriter
}

func (s *pipeSession) Open(context.Context) (relay.Stream, error) {
	up, down := s.half(), s.half()
	s.peer.streams <- pipeStream{&pipeReader{up}, &pipeWriter{down}}
	return pipeStream{&pipeReader{down}, &pipeWriter{up}}, nil
}

func (s *pipeSession) OpenUni() (relay.SendStream, error) {
	h := s.half()
	s.peer.unis <- &pipeReader{h}
	return &pipeWriter{h}, nil
}

func (s *pipeSession) Accept(ctx context.Context) (relay.Stream, error) {
	select {
	case st := <-s.streams:
		return st, nil
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *pipeSession) AcceptUni(ctx context.Context) (relay.ReceiveStream, error) {
	select {
	case st := <-s.unis:
		return st, nil
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

func (s *pipeSession) SendDatagram(b []byte) error {
	select {
	case s.peer.dgrams <- append([]byte(nil), b...):
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *pipeSession) ReceiveDatagram(context.Context) ([]byte, error) {
	select {
	case b := <-s.dgrams:
		return b, nil
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

func (s *pipeSession) Close(code relay.Code, reason string) {
	s.cancel(&relay.CloseError{Code: code, Reason: reason})
	s.peer.cancel(&relay.CloseError{Code: code, Reason: reason, Remote: true})
	for _, side := range []*pipeSession{s, s.peer} {
		side.mu.Lock()
		for _, h := range side.open {
			h.fail(context.Cause(s.ctx))
		}
		side.mu.Unlock()
	}
}

func (s *pipeSession) Context() context.Context { return s.ctx }
func (s *pipeSession) Peer() relay.Peer         { return s.info }

// pipeHalf is one direction of a stream.
type pipeHalf struct {
	room int

	mu       sync.Mutex
	cond     *sync.Cond
	buf      []byte
	fin      bool
	err      error
	deadline time.Time
	timer    *time.Timer
	writes   int
}

func (h *pipeHalf) fail(err error) {
	h.mu.Lock()
	if h.err == nil {
		h.err = err
	}
	h.cond.Broadcast()
	h.mu.Unlock()
}

type pipeReader struct{ h *pipeHalf }

func (r *pipeReader) Read(p []byte) (int, error) {
	h := r.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 {
		if h.err != nil {
			return 0, h.err
		}
		if h.fin {
			return 0, io.EOF
		}
		h.cond.Wait()
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	h.cond.Broadcast()
	return n, nil
}

func (r *pipeReader) CancelRead(code relay.Code) {
	r.h.fail(&relay.StreamError{Code: code, Remote: true})
}
func (r *pipeReader) SetReadDeadline(time.Time) error { return nil }

type pipeWriter struct{ h *pipeHalf }

func (w *pipeWriter) Write(p []byte) (int, error) {
	h := w.h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes++
	var n int
	for {
		if h.err != nil {
			return n, h.err
		}
		take := min(len(p), h.room-len(h.buf))
		h.buf = append(h.buf, p[:take]...)
		p, n = p[take:], n+take
		h.cond.Broadcast()
		if len(p) == 0 {
			return n, nil
		}
		if !h.deadline.IsZero() && !time.Now().Before(h.deadline) {
			return n, os.ErrDeadlineExceeded
		}
		h.cond.Wait()
	}
}

func (w *pipeWriter) SetWriteDeadline(t time.Time) error {
	h := w.h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	if h.timer != nil {
		h.timer.Stop()
	}
	h.timer = time.AfterFunc(time.Until(t), func() {
		h.mu.Lock()
		h.cond.Broadcast()
		h.mu.Unlock()
	})
	return nil
}

func (w *pipeWriter) Close() error {
	w.h.mu.Lock()
	w.h.fin = true
	w.h.cond.Broadcast()
	w.h.mu.Unlock()
	return nil
}

func (w *pipeWriter) CancelWrite(code relay.Code) {
	w.h.fail(&relay.StreamError{Code: code, Remote: true})
}
