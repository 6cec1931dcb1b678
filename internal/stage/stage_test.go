package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/internal/program"
	"github.com/meridian-relay/meridian/relay"
)

// patience is the longest that one step takes.
const patience = 30 * time.Second

// A remote drives a stage as a test in another language does.
type remote struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// call carries out a command, written as JSON without an id, and decodes what it gets into ok.
func (r *remote) call(c string, ok any) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, strings.Replace(c, "{", `{"id": 7, `, 1)+"\n"); err != nil {
		r.t.Fatal(err)
	}
	line, err := r.out.ReadBytes('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	a := struct {
		ID    int
		Error string
		OK    json.RawMessage
	}{}
	if err := json.Unmarshal(line, &a); err != nil || a.ID != 7 || a.Error != "" {
		r.t.Fatalf("%s: %s (%v)", c, line, err)
	}
	if ok != nil {
		if err := json.Unmarshal(a.OK, ok); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestStage: what a client of the Go SDK sees of a stage on which everything happens once.
func TestStage(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "meridian")
	if err := program.Build(binary); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("MERIDIAN_OF_A_TEST", "no setting of an edge")
	in, toStage := io.Pipe()
	fromStage, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(context.Background(), in, out)
		out.Close()
	}()
	r := &remote{t: t, in: toStage, out: bufio.NewReader(fromStage)}
	t.Cleanup(func() {
		toStage.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v (%v)", left, err)
		}
	})

	var s started
	r.call(`{"do": "start", "edges": 2, "binary": "`+binary+`", "namespaces": {"chat": {"count": 50}}}`, &s)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var token string
	r.call(`{"do": "token", "subject": "bob"}`, &token)
	hash, err := hex.DecodeString(s.Hashes[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(ctx, s.Edges[0].URL, client.Config{Token: token, CertHashes: [][32]byte{[32]byte(hash)}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	// connected waits until the client is, over a carrier; empty: whichever.
	connected := func(edge string, carrier relay.Carrier) {
		t.Helper()
		for state := range c.States(ctx) {
			if state.Phase == client.Connected && state.Edge == edge && (state.Carrier == carrier || carrier == "") {
				return
			}
		}
		t.Fatalf("not connected to %s over %q within %v", edge, carrier, 2*patience)
	}
	connected("edge-0", relay.WebTransport)
	if _, err := c.Publish(ctx, "chat:mine", client.Message{Payload: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	var mine []kept
	if r.call(`{"do": "history", "channel": "chat:mine"}`, &mine); len(mine) != 1 || mine[0].Text != "hello" || mine[0].Publisher != "bob" {
		t.Errorf("history: %+v", mine)
	}
	var last fed
	if r.call(`{"do": "publish", "channel": "chat:a", "count": 100}`, &last); last.N != 100 || last.Seq != 100 {
		t.Errorf("published up to %+v, want number and seq 100", last)
	}
	var all []kept
	for len(all) != 50 && ctx.Err() == nil { // the home looks after retention ten times a second
		r.call(`{"do": "history", "channel": "chat:a"}`, &all)
	}
	if len(all) != 50 || all[0].Text != "51" {
		t.Errorf("history: %d messages from %+v, want 50 from 51", len(all), all[0])
	}

	next, stop := iter.Pull2(c.Subscribe(ctx, "chat:a", client.SubscribeOptions{}))
	defer stop()
	until := func(wanted func(client.Event) bool) {
		t.Helper()
		for {
			event, err, more := next()
			if err != nil || !more {
				t.Fatalf("subscription: %v", err)
			}
			if wanted(event) {
				return
			}
		}
	}
	until(func(e client.Event) bool { _, ok := e.(*client.Subscribed); return ok })

	// Each of what a test does to the way makes the client take another.
	r.call(`{"do": "cut", "what": "udp"}`, nil)
	r.call(`{"do": "reset"}`, nil)
	connected("edge-0", relay.WebSocket)
	r.call(`{"do": "cut", "what": "none"}`, nil)
	r.call(`{"do": "kill"}`, nil)
	r.call(`{"do": "restart"}`, nil)
	if _, err := c.Publish(ctx, "chat:mine", client.Message{Payload: []byte("to the same address")}); err != nil {
		t.Fatal(err)
	}
	connected("edge-0", "")
	r.call(`{"do": "stop"}`, nil) // drains: the client goes to the other edge
	connected("edge-1", "")

	r.call(`{"do": "home", "what": "restart"}`, nil)
	if r.call(`{"do": "publish", "channel": "chat:a", "count": 1}`, &last); last.N != 101 || last.Seq != 1 {
		t.Errorf("published %+v at a new home, want number 101 as seq 1", last)
	}
	until(func(e client.Event) bool { gap, ok := e.(*client.Gap); return ok && gap.Reason == relay.GapEpoch })
	until(func(e client.Event) bool { m, ok := e.(*client.Message); return ok && string(m.Payload) == "101" })
}
