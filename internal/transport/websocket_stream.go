package transport

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/meridian-relay/meridian/relay"
)

const (
	maxChunk   = 16 << 10 // bytes of one message, and of what a stalled Write leaves in memory
	maxControl = 9        // bytes of the longest text message, "reset 999"
)

var _ relay.Stream = (*wsStream)(nil)

var errStreamClosed = errors.New("write on a stream that was closed")

// A wsStream is the stream of a WebSocket session.
type wsStream struct {
	session *wsSession // set at construction

	mu sync.Mutex
	// The receiving half.
	in         []byte // lent by the pump until it is empty
	readEnd    error  // after in: io.EOF or a *relay.StreamError
	readStop   bool   // CancelRead was called: the pump drops what comes
	readTime   deadline
	readable   chan struct{} // capacity 1: in or readEnd changed
	readerDone chan struct{} // capacity 1: in is empty, or readStop
	// The sending half.
	writeEnd  error // a *relay.StreamError, or errStreamClosed
	writeTime deadline
	writeStop chan struct{} // closed when writeEnd is set
}

func (t *wsStream) init(s *wsSession) {
	t.session = s
	t.readable = make(chan struct{}, 1)
	t.readerDone = make(chan struct{}, 1)
	t.writeStop = make(chan struct{})
	t.readTime.changed = make(chan struct{}, 1)
	t.writeTime.changed = make(chan struct{}, 1)
}

// A deadline is a time that may change while it is waited for.
type deadline struct {
	at      time.Time     // guarded by the stream's mu
	changed chan struct{} // capacity 1
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait returns when ready or end is, or the deadline has changed: nil; or when it has passed.
func (d *deadline) wait(mu *sync.Mutex, ready, end, done <-chan struct{}) error {
	mu.Lock()
	at := d.at
	mu.Unlock()
	var late <-chan time.Time
	if !at.IsZero() {
		left := time.Until(at)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ready:
	case <-end:
	case <-done:
	case <-d.changed:
	case <-late:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// feed hands bytes to the reader and returns when it has taken them all. It is called by the
// pump.
func (t *wsStream) feed(b []byte) error {
	t.mu.Lock()
	if t.readStop {
		t.mu.Unlock()
		return nil
	}
	if t.readEnd != nil {
		t.mu.Unlock()
		return &relay.CloseError{Code: relay.Protocol, Reason: "bytes after the end of the stream"}
	}
	t.in = b
	t.mu.Unlock()
	signal(t.readable)
	t.session.waiting.Store(true)
	defer t.session.waiting.Store(false)
	for {
		select {
		case <-t.readerDone:
		case <-t.session.ctx.Done():
		}
		t.mu.Lock()
		if len(t.in) == 0 || t.readStop || t.session.ctx.Err() != nil {
			t.in = nil
			t.mu.Unlock()
			return nil
		}
		t.mu.Unlock()
	}
}

// control obeys a text message. It is called by the pump.
func (t *wsStream) control(text string) error {
	verb, arg, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(arg, 10, 10)
	if text != "" && (err != nil || n > 999 || verb != "reset" && verb != "stop") {
		return &relay.CloseError{Code: relay.Protocol, Reason: "a text message that is none of the stream's"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if verb == "stop" {
		t.endWrite(&relay.StreamError{Code: relay.Code(n), Remote: true})
		return nil
	}
	if t.readEnd != nil && !t.readStop {
		return &relay.CloseError{Code: relay.Protocol, Reason: "the stream ended twice"}
	}
	if t.readEnd == nil {
		t.readEnd = io.EOF
		if verb == "reset" {
			t.readEnd = &relay.StreamError{Code: relay.Code(n), Remote: true}
		}
	}
	signal(t.readable)
	return nil
}

// endWrite ends the sending half, once. t.mu is held.
func (t *wsStream) endWrite(err error) bool {
	if t.writeEnd != nil {
		return false
	}
	t.writeEnd = err
	close(t.writeStop)
	return true
}

func (t *wsStream) Read(p []byte) (int, error) {
	for {
		t.mu.Lock()
		if len(t.in) > 0 && !t.readStop && !t.readTime.passed() && t.session.ctx.Err() == nil {
			n := copy(p, t.in)
			t.in = t.in[n:]
			if len(t.in) == 0 {
				signal(t.readerDone)
			}
			t.mu.Unlock()
			return n, nil
		}
		end, empty := t.readEnd, len(t.in) == 0 || t.readStop
		t.mu.Unlock()
		if end != nil && empty {
			return 0, end
		}
		if err := context.Cause(t.session.ctx); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if err := t.readTime.wait(&t.mu, t.readable, nil, t.session.ctx.Done()); err != nil {
			return 0, err
		}
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (t *wsStream) CancelRead(code relay.Code) {
	t.mu.Lock()
	if t.readEnd != nil || t.readStop {
		t.mu.Unlock()
		return
	}
	t.readStop = true
	t.readEnd = &relay.StreamError{Code: code}
	t.mu.Unlock()
	signal(t.readable)
	signal(t.readerDone)
	t.say("stop " + strconv.Itoa(int(code)))
}

func (t *wsStream) SetReadDeadline(at time.Time) error {
	t.mu.Lock()
	t.readTime.at = at
	t.mu.Unlock()
	signal(t.readTime.changed)
	return nil
}

// Write sends p in messages of at most maxChunk. A deadline leaves off between two of them, and
// may be late by stall; what was counted as written goes out later.
func (t *wsStream) Write(p []byte) (int, error) {
	n := 0
	for {
		if err := t.writable(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		chunk := p[n:min(len(p), n+maxChunk)]
		if err := t.session.ws.Write(context.Background(), websocket.MessageBinary, chunk); err != nil {
			return n, t.session.lost(err)
		}
		n += len(chunk)
		if n == len(p) {
			return n, nil
		}
	}
}

// writable waits until the next chunk may be written.
func (t *wsStream) writable() error {
	for {
		if err := context.Cause(t.session.ctx); err != nil {
			return err
		}
		t.mu.Lock()
		end, late := t.writeEnd, t.writeTime.passed()
		t.mu.Unlock()
		if end != nil {
			return end
		}
		if late {
			return os.ErrDeadlineExceeded
		}
		settled := t.session.tcp.settled()
		if settled == nil {
			return nil
		}
		if err := t.writeTime.wait(&t.mu, settled, t.writeStop, t.session.ctx.Done()); err != nil {
			return err
		}
	}
}

func (t *wsStream) Close() error {
	t.mu.Lock()
	first := t.endWrite(errStreamClosed)
	t.mu.Unlock()
	if !first {
		return nil
	}
	if err := t.session.ws.Write(context.Background(), websocket.MessageText, nil); err != nil {
		return t.session.lost(err)
	}
	return nil
}

func (t *wsStream) CancelWrite(code relay.Code) {
	t.mu.Lock()
	first := t.endWrite(&relay.StreamError{Code: code})
	t.mu.Unlock()
	if first {
		t.say("reset " + strconv.Itoa(int(code)))
	}
}

// say sends a text message without waiting.
func (t *wsStream) say(text string) {
	t.session.tasks.Go(func() {
		_ = t.session.ws.Write(context.Background(), websocket.MessageText, []byte(text))
	})
}

func (t *wsStream) SetWriteDeadline(at time.Time) error {
	t.mu.Lock()
	t.writeTime.at = at
	t.mu.Unlock()
	signal(t.writeTime.changed)
	return nil
}

// lost returns the session's end after its connection failed with err. The pump knows better why,
// if it has just read a close.
func (s *wsSession) lost(err error) error {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
	case <-t.C:
		s.cancel(wsClosed(err))
	}
	_ = s.tcp.Close()
	return context.Cause(s.ctx)
}
