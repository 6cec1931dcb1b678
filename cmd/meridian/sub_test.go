package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func jsonLines(t *testing.T, out string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		list = append(list, m)
	}
	return list
}

func messages(lines []map[string]any) []map[string]any {
	var list []map[string]any
	for _, m := range lines {
		if m["event"] == nil {
			list = append(list, m)
		}
	}
	return list
}

func timeOf(t *testing.T, m map[string]any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, m["time"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestSubPrintsEverything(t *testing.T) {
	s := newShell(t)
	s.dev()
	sub := s.start("sub", "demo:a", "--count", "3", "-o", "json")
	at := waitFor(sub, "subscribed")
	if at["channel"] != "demo:a" || at["epoch"] == nil || at["seq"] == nil {
		t.Errorf("subscribed: %v", at)
	}
	s.ok("", "pub", "demo:a", "text")
	s.ok("\xff\x00", "pub", "demo:a", "--key", "k")
	s.ok("", "pub", "demo:a", "")
	var text, binary, empty map[string]any
	sub.json(&text)
	sub.json(&binary)
	sub.json(&empty)
	if text["payload"] != "text" || text["publisher"] != "dev" || text["channel"] != "demo:a" || text["seq"] != 1.0 {
		t.Errorf("text: %v", text)
	}
	if time.Since(timeOf(t, text)).Abs() > time.Minute {
		t.Errorf("time: %v", text["time"])
	}
	if binary["payload"] != nil || binary["payload_base64"] != base64.StdEncoding.EncodeToString([]byte("\xff\x00")) || binary["key"] != "k" {
		t.Errorf("binary: %v", binary)
	}
	if payload, ok := empty["payload"]; !ok || payload != "" {
		t.Errorf("empty: %v", empty)
	}
	if code := sub.wait(); code != 0 {
		t.Errorf("exit code %d; stderr:\n%s", code, sub.stderr())
	}
}

func TestSubFrom(t *testing.T) {
	s := newShell(t)
	s.dev()
	at := positions(t, s.ok("", "pub", "demo:a", "1", "2", "3", "4", "5").lines())
	for from, want := range map[string][]string{
		"start":        {"1", "2", "3", "4", "5"},
		"last:2":       {"4", "5"},
		"since:1h":     {"1", "2", "3", "4", "5"},
		at[2].String(): {"4", "5"},
	} {
		r := s.ok("", "sub", "demo:a", "--from", from, "--count", fmt.Sprint(len(want)))
		if got := r.lines(); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("--from %s: %q, want %q", from, got, want)
		}
		if from != "live" {
			r = s.ok("", "history", "demo:a", "--from", from)
			if got := r.lines(); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("history --from %s: %q, want %q", from, got, want)
			}
		}
	}
	if got := s.ok("", "history", "demo:a", "--from", "start", "--limit", "2").lines(); strings.Join(got, " ") != "1 2" {
		t.Errorf("history --limit 2: %q", got)
	}
	if got := s.ok("", "history", "demo:nothing").out; got != "" {
		t.Errorf("history of an empty channel: %q", got)
	}
	for _, bad := range []string{"", "now", "last:", "last:0", "last:-1", "since:soon", "since:-5m", "1:x", "1:2:3"} {
		s.fails(2, "--from", "", "sub", "demo:a", "--from", bad)
	}
}

// TestNumbers is the first thing that the README shows, larger: each number once, in order,
// while it is published.
func TestNumbers(t *testing.T) {
	s := newShell(t)
	s.dev()
	const count = 20_000
	sub := s.start("sub", "demo:numbers", "--from", "start", "--count", strconv.Itoa(count), "-o", "json")
	var input strings.Builder
	for i := range count {
		fmt.Fprintln(&input, i+1)
	}
	at := positions(t, s.ok(input.String(), "pub", "demo:numbers", "--lines").lines())
	if len(at) != count {
		t.Fatalf("%d positions, want %d", len(at), count)
	}
	for i := range count {
		var m struct {
			Event   string
			Payload string
			Epoch   relay.Epoch
			Seq     relay.Seq
		}
		for sub.json(&m); m.Event != ""; sub.json(&m) {
			m.Event = ""
		}
		if m.Payload != strconv.Itoa(i+1) || (relay.Position{Epoch: m.Epoch, Seq: m.Seq}) != at[i] {
			t.Fatalf("message %d is %+v, want %v", i+1, m, at[i])
		}
	}
	if code := sub.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// A successor goes on after any position.
	r := s.ok("", "sub", "demo:numbers", "--from", at[count/2-1].String(), "--count", "1")
	if r.lines()[0] != strconv.Itoa(count/2+1) {
		t.Errorf("after the middle comes %q", r.out)
	}
}

// TestSubManyChannels: as text, the channel stands before the payload; --count is for all.
func TestSubManyChannels(t *testing.T) {
	s := newShell(t)
	s.dev()
	s.ok("", "pub", "demo:a", "1")
	s.ok("", "pub", "demo:b", "2")
	got := s.ok("", "sub", "demo:a", "demo:b", "--from", "start", "--count", "2").lines()
	if text := strings.Join(got, " "); text != "demo:a\t1 demo:b\t2" && text != "demo:b\t2 demo:a\t1" {
		t.Errorf("got %q", got)
	}
}

func TestSubLatest(t *testing.T) {
	s := newShell(t)
	s.dev()
	for i := range 10 {
		s.ok("", "pub", "demo:state", fmt.Sprint(i), "--key", fmt.Sprint("k", i%2))
	}
	lines := jsonLines(t, s.ok("", "sub", "demo:state", "--mode", "latest", "--from", "start", "--count", "2", "-o", "json").out)
	got := messages(lines)
	if len(got) != 2 || got[0]["payload"] != "8" || got[1]["payload"] != "9" {
		t.Errorf("latest of each key: %v", got)
	}
}
