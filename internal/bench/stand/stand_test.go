package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

// TestStand: what is published at the home reaches a client of the edge, in turn over the
// channels, with the time of its publish; a command that fails says why; the end of the input ends
// everything.
func TestStand(t *testing.T) {
	in, toStand := io.Pipe()
	fromStand, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(t.Context(), in, out) }()
	answers := bufio.NewReader(fromStand)
	call := func(command string, ok any) (failure string) {
		t.Helper()
		if _, err := io.WriteString(toStand, command+"\n"); err != nil {
			t.Fatal(err)
		}
		line, err := answers.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		a := struct {
			ID    int
			Error string
			OK    json.RawMessage
		}{}
		if err := json.Unmarshal(line, &a); err != nil || a.ID != 7 {
			t.Fatalf("%s: %s (%v)", command, line, err)
		}
		if a.Error == "" {
			if err := json.Unmarshal(a.OK, ok); err != nil {
				t.Fatal(err)
			}
		}
		return a.Error
	}

	if failure := call(`{"id": 7, "do": "token"}`, nil); !strings.Contains(failure, "first") {
		t.Errorf("token before start: %q", failure)
	}
	var s started
	var token string
	var f fed
	call(`{"id": 7, "do": "start", "namespaces": {"bench": {}}}`, &s)
	call(`{"id": 7, "do": "token", "ttl": 60000}`, &token)
	began := time.Now()
	if call(`{"id": 7, "do": "publish", "channel": "bench:a", "channels": 2, "count": 100, "rate": 1000, "size": 64}`, &f); f.N != 100 {
		t.Errorf("published %d, want 100", f.N)
	}
	if took := time.Since(began); took < 99*time.Millisecond {
		t.Errorf("100 messages at 1,000 a second took %v", took)
	}
	if failure := call(`{"id": 7, "do": "publish", "channel": "nowhere:a", "count": 1}`, &f); !strings.Contains(failure, "unknown_namespace") {
		t.Errorf("publish to a namespace that is not there: %q", failure)
	}

	hash, err := hex.DecodeString(s.Hashes[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), s.Edges[0].URL, client.Config{Token: token, CertHashes: [][32]byte{[32]byte(hash)}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, channel := range []relay.Channel{"bench:a0", "bench:a1"} {
		n := 0
		for m, err := range c.History(t.Context(), channel, relay.Start{}, 0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			stamp, _, _ := strings.Cut(string(m.Payload), " ")
			micros, err := strconv.ParseInt(stamp, 10, 64)
			if at := time.UnixMicro(micros); err != nil || at.Before(began.Add(-time.Millisecond)) || at.After(time.Now()) || len(m.Payload) != 64 {
				t.Errorf("%s: payload %q", channel, m.Payload)
			}
		}
		if n != 50 {
			t.Errorf("%s: %d messages, want 50", channel, n)
		}
	}
	toStand.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
