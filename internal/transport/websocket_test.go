package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/meridian-relay/meridian/relay"
)

// bare opens a WebSocket without a Session on it, and returns the server's session.
func (s *stage) bare(t *testing.T) (*websocket.Conn, relay.Session) {
	t.Helper()
	ws, _, err := websocket.Dial(soon(t), "ws://"+s.plain+SessionPath, &websocket.DialOptions{Subprotocols: []string{Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, s.next()
}

// What is no part of the stream's protocol ends the session, and the peer is told why.
func TestWebSocketOutOfPlace(t *testing.T) {
	t.Parallel()
	type message struct {
		typ  websocket.MessageType
		body string
	}
	text, binary := websocket.MessageText, websocket.MessageBinary
	for name, messages := range map[string][]message{
		"unknown text":      {{text, "hello"}},
		"long text":         {{text, strings.Repeat("x", 100_000)}},
		"code too large":    {{text, "reset 1000"}},
		"code missing":      {{text, "stop"}},
		"bytes after FIN":   {{binary, "a"}, {text, ""}, {binary, strings.Repeat("b", 50_000)}},
		"bytes after reset": {{text, "reset 50"}, {binary, "b"}},
		"FIN twice":         {{text, ""}, {text, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			ws, session := s.bare(t)
			stream, _ := session.Accept(soon(t))
			go func() { _, _ = io.Copy(io.Discard, stream) }()
			for _, m := range messages {
				if err := ws.Write(soon(t), m.typ, []byte(m.body)); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := ws.Read(soon(t))
			if got := websocket.CloseStatus(err); got != wsCode+websocket.StatusCode(relay.Protocol) {
				t.Errorf("status %v, %v", got, err)
			}
			if e, ok := errors.AsType[*relay.CloseError](ended(t, session)); !ok || e.Code != relay.Protocol || e.Remote {
				t.Errorf("the server's end: %v", e)
			}
		})
	}
}

// A peer that neither speaks nor answers is gone after the idle time.
func TestWebSocketDeadPeer(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { c.IdleTimeout, c.KeepAlive = 200*time.Millisecond, 50*time.Millisecond })
	_, session := s.bare(t) // it never reads, so that it answers no ping
	if e, ok := errors.AsType[*relay.CloseError](ended(t, session)); !ok || e.Code != relay.LinkLost || e.Remote {
		t.Fatalf("%v", e)
	}
}

func TestWebSocketCloseStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[websocket.StatusCode]relay.Code{
		4000: relay.Done, 4020: relay.Unauthorized, 4999: 999, 1000: relay.Done, 1001: relay.LinkLost, 1002: relay.Protocol,
	} {
		s := newStage(t, nil)
		ws, session := s.bare(t)
		_ = ws.Close(status, "why")
		mustClose(t, ended(t, session), relay.CloseError{Code: want, Reason: "why", Remote: true})
	}
}

func TestWebSocketNeedsSubprotocol(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	_, rsp, err := websocket.Dial(soon(t), "ws://"+s.plain+SessionPath, nil)
	if err == nil || rsp == nil || rsp.StatusCode != http.StatusBadRequest {
		t.Fatalf("%v, %v", rsp, err)
	}
}

// What waits in memory for a peer that reads nothing is bounded.
func TestCarryIsBounded(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	c := newTCPConn(near, nil)
	defer c.Close()
	c.bePatient()
	if n, err := c.Write(make([]byte, maxChunk)); n != maxChunk || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if c.settled() == nil {
		t.Fatal("settled, though nobody reads")
	}
	total := 0
	for {
		n, err := c.Write(make([]byte, 1000))
		total += n
		if errors.Is(err, errCarry) {
			break
		}
		if err != nil || maxChunk+total > maxCarry {
			t.Fatalf("after %d: %v", total, err)
		}
	}
	got, err := io.ReadAll(io.LimitReader(far, int64(maxChunk+total)))
	if err != nil || len(got) != maxChunk+total {
		t.Fatalf("%d of %d, %v", len(got), maxChunk+total, err)
	}
	if done := c.settled(); done != nil {
		receive(t, done)
	}
	go func() { _, _ = io.Copy(io.Discard, far) }()
	if _, err := c.Write([]byte("again")); err != nil {
		t.Fatal(err)
	}
}

func FuzzControl(f *testing.F) {
	for _, s := range []string{"", "reset 1", "stop 999", "stop 1000", "reset", "reset -1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		s := &wsSession{ctx: ctx, cancel: cancel}
		s.stream.init(s)
		if s.stream.control(text) != nil {
			if s.stream.readEnd != nil || s.stream.writeEnd != nil {
				t.Error("refused, and obeyed")
			}
			return
		}
		for _, end := range []error{s.stream.readEnd, s.stream.writeEnd} {
			if e, ok := errors.AsType[*relay.StreamError](end); ok && e.Code > 999 {
				t.Errorf("code %d", e.Code)
			}
		}
	})
}
