package main

import (
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDevIsReady(t *testing.T) {
	s := newShell(t)
	_, r := s.dev()
	if r.Context != "dev" || !strings.HasPrefix(r.URL, "https://127.0.0.1:") || !strings.HasPrefix(r.HTTP, "http://127.0.0.1:") {
		t.Errorf("ready: %+v", r)
	}
	for _, when := range []string{"now", "next"} {
		if b, err := hex.DecodeString(r.Hashes[when]); err != nil || len(b) != 32 {
			t.Errorf("hash %s is %q, want SHA-256 in hexadecimal", when, r.Hashes[when])
		}
	}
	// UDP and TCP have one number: both are taken.
	addr := strings.TrimPrefix(r.URL, "https://")
	if l, err := net.Listen("tcp", addr); err == nil {
		l.Close()
		t.Errorf("TCP %s is free", addr)
	}
	if l, err := net.ListenPacket("udp", addr); err == nil {
		l.Close()
		t.Errorf("UDP %s is free", addr)
	}
	resp, err := http.Get(r.Ops + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("readyz: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	// The context has a secret in it: its owner alone reads it.
	info, err := os.Stat(filepath.Join(s.dir, "contexts", "dev.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("context file: %v, %v", info, err)
	}
	if got := s.ok("", "context", "ls").out; got != "* dev  "+r.URL+"\n" {
		t.Errorf("contexts %q", got)
	}
	if got := s.ok("", "shard", "list").out; !strings.Contains(got, "s1") {
		t.Errorf("shards %q", got)
	}
}

func TestDevEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		env    string
		signal os.Signal
	}{
		"by MERIDIAN_FOR": {env: "MERIDIAN_FOR=300ms"},
		"after --for":     {args: []string{"--for", "300ms"}},
		"by SIGTERM":      {signal: syscall.SIGTERM},
		"by ^C":           {signal: syscall.SIGINT},
	} {
		t.Run(name, func(t *testing.T) {
			dev, _ := newShell(t).with(tc.env).dev(tc.args...)
			if tc.signal != nil {
				dev.signal(tc.signal)
			}
			if code := dev.wait(); code != 0 {
				t.Errorf("exit code %d; stderr:\n%s", code, dev.stderr())
			}
			// The command that it advises is the one that it was called by.
			if !strings.Contains(dev.stderr(), binary+" sub demo:greetings") {
				t.Errorf("stderr:\n%s", dev.stderr())
			}
		})
	}
}

// TestDevDrains: a subscriber is told to go, and the process ends within its grace.
func TestDevDrains(t *testing.T) {
	s := newShell(t)
	dev, _ := s.dev("--grace", "200ms")
	sub := s.start("sub", "demo:a", "-o", "json")
	waitFor(sub, "subscribed")
	dev.signal(syscall.SIGTERM)
	if code := dev.wait(); code != 0 {
		t.Errorf("exit code %d; stderr:\n%s", code, dev.stderr())
	}
	waitForState(sub, "reconnecting")
	sub.signal(syscall.SIGINT)
	if code := sub.wait(); code != 0 {
		t.Errorf("sub: exit code %d; stderr:\n%s", code, sub.stderr())
	}
}

func TestDevSaysWhoIsInTheWay(t *testing.T) {
	s := newShell(t)
	_, r := s.dev()
	s.fails(1, "another process has it", "", "dev", "--listen", strings.TrimPrefix(r.URL, "https://"), "--http", "", "--ops", "")
	s.fails(2, "is not on loopback", "", "dev", "--listen", "0.0.0.0:0")
	s.fails(2, `"soon" is not a time`, "", "dev", "--for", "soon")
}

// TestDevNamespaces: the file's namespaces are there, beside demo, and others are refused by name.
func TestDevNamespaces(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "dev.yaml")
	if err := os.WriteFile(file, []byte("namespaces: {chat: {age: 1h, messages: 2}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.dev("--config", file)
	s.ok("", "pub", "demo:a", "x")
	s.ok("", "pub", "chat:a", "1", "2", "3")
	s.fails(1, `unknown_namespace: `, "", "pub", "other:a", "x")
	s.fails(1, `"other"`, "", "pub", "other:a", "x")
}

// waitFor reads JSON lines until an event.
func waitFor(p *process, event string) map[string]any {
	p.t.Helper()
	for {
		var line map[string]any
		p.json(&line)
		if line["event"] == event {
			return line
		}
	}
}

func waitForState(p *process, state string) {
	p.t.Helper()
	for waitFor(p, "state")["state"] != state {
	}
}
