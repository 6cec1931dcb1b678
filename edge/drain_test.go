package edge_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// A drain asks every session to go, refuses new ones, tells the load balancer, and closes who
// stays when the grace is over.
func TestDrain(t *testing.T) {
	const grace = 2 * time.Second
	w := newWorld(t, func(c *edge.Config) {
		c.Grace = grace
		c.Alternatives = []string{"https://edge-2.example"}
	})
	away := make(chan link.GoAway, 1)
	s, err := w.dialer.WebTransport(t.Context(), "https://"+w.addr+transport.SessionPath)
	if err != nil {
		t.Fatal(err)
	}
	leaver, err := link.Connect(t.Context(), link.Config{Session: s, Token: w.token("a", nil), OnGoAway: func(g link.GoAway) { away <- g }})
	if err != nil {
		t.Fatal(err)
	}
	stayer := w.mustConnect(relay.WebSocket, w.token("b", nil))

	begun := time.Now()
	drained := make(chan struct{})
	go func() {
		w.edge.Drain(context.Background())
		close(drained)
	}()
	select {
	case g := <-away:
		if g.Reason != relay.GoingAway || g.Deadline <= 0 || g.Deadline > grace || len(g.Alternatives) != 1 {
			t.Errorf("GoAway %+v", g)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no GoAway")
	}
	if status, _ := w.fetch("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz while draining: %d", status)
	}
	if status, _ := w.fetch("/healthz"); status != http.StatusOK {
		t.Errorf("healthz while draining: %d", status)
	}
	if _, err := w.connect(relay.WebTransport, w.token("c", nil)); codeOf(err) != relay.GoingAway {
		t.Errorf("a new session: %v", err)
	}
	leaver.Close(relay.Done, "")
	<-leaver.Done()
	if _, end := publish(t, stayer, relay.Publication{Channel: "demo:x", Body: body("x")}); end.Code != relay.Done {
		t.Errorf("a publish while draining: %+v", end)
	}
	<-drained
	if took := time.Since(begun); took < grace || took > grace+5*time.Second {
		t.Errorf("drained after %v; want %v", took, grace)
	}
	<-stayer.Done()
	if codeOf(stayer.Err()) != relay.GoingAway {
		t.Errorf("who stayed: %v", stayer.Err())
	}
}

// Without sessions there is nothing to wait for, and who leaves ends the waiting.
func TestDrainEndsEarly(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Grace = time.Hour })
	l := w.mustConnect(relay.WebTransport, w.token("a", nil))
	drained := make(chan struct{})
	go func() {
		w.edge.Drain(context.Background())
		w.edge.Drain(context.Background()) // nobody is left
		close(drained)
	}()
	<-l.Leaving()
	l.Close(relay.Done, "")
	select {
	case <-drained:
	case <-time.After(20 * time.Second):
		t.Fatal("the drain waits for a session that has left")
	}
}
