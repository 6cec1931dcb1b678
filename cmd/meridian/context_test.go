package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestContexts(t *testing.T) {
	s := newShell(t)
	s.ok("", "context", "add", "prod", "--url", "https://relay.example.com", "--token-command", "cat /token")
	s.ok("secret-token\n", "context", "add", "lab", "--url", "https://10.0.0.7:4433", "--token", "-", "--select")
	s.fails(3, "context exists", "", "context", "add", "lab", "--url", "https://x")
	if got := s.ok("", "context", "ls").out; got != "* lab  https://10.0.0.7:4433\n  prod  https://relay.example.com\n" {
		t.Errorf("ls: %q", got)
	}
	r := s.ok("", "context", "show")
	if strings.Contains(r.out, "secret-token") || !strings.Contains(r.out, "token: (redacted)") || !strings.Contains(r.out, "name: lab") {
		t.Errorf("show: %q", r.out)
	}
	var x map[string]any
	if err := json.Unmarshal([]byte(s.ok("", "context", "show", "prod", "-o", "json").out), &x); err != nil || x["name"] != "prod" || x["token_command"] != "cat /token" {
		t.Errorf("show prod: %v, %v", x, err)
	}
	s.ok("", "context", "select", "prod")
	s.ok("", "context", "rm", "lab")
	s.fails(1, "no such context", "", "context", "rm", "lab")
	s.fails(1, "no such context", "", "context", "select", "lab")
	lines := jsonLines(t, s.ok("", "context", "ls", "-o", "json").out)
	if len(lines) != 1 || lines[0]["name"] != "prod" || lines[0]["selected"] != true {
		t.Errorf("ls: %v", lines)
	}
}

// TestContextCA: a file of certificates is read when the context is made, and found from any folder.
func TestContextCA(t *testing.T) {
	s, ca := newShell(t), newAuthority(t)
	s.fails(1, "--ca: open no-such.pem", "", "context", "add", "lab", "--url", "https://h", "--ca", "no-such.pem")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, ca.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.ok("", "context", "add", "lab", "--url", "https://h", "--ca", relative)
	if got := s.ok("", "context", "show", "lab").out; !strings.Contains(got, ca.file("ca.pem")) {
		t.Errorf("show: %q, want the path from the root", got)
	}
}

// TestOverrides: flags and environment say more than the selected context.
func TestOverrides(t *testing.T) {
	s := newShell(t)
	_, first := s.dev()
	first1 := readContext(t, s)
	other := newShell(t)
	_, second := other.dev()
	second1 := readContext(t, other)
	s.ok("", "pub", "demo:a", "at the first")
	other.ok("", "pub", "demo:a", "at the second")
	reads := func(want string, s *shell, args ...string) {
		t.Helper()
		if got := s.ok("", append([]string{"history", "demo:a"}, args...)...).out; got != want+"\n" {
			t.Errorf("%q with %q read %q, want %q", args, s.env, got, want)
		}
	}
	reads("at the first", s)
	s.ok("", "context", "add", "second", "--url", second.URL, "--token", second1["token"].(string),
		"--cert-hash", second.Hashes["next"], "--cert-hash", second.Hashes["now"])
	reads("at the first", s)
	reads("at the second", s, "--context", "second")
	reads("at the second", s.with("MERIDIAN_CONTEXT=second"))
	reads("at the first", s.with("MERIDIAN_CONTEXT=second"), "--context", "dev")
	// Over plain HTTP no certificate matters.
	reads("at the second", s.with("MERIDIAN_TOKEN="+second1["token"].(string)), "--url", second.HTTP)
	reads("at the second", s.with("MERIDIAN_TOKEN="+second1["token"].(string), "MERIDIAN_URL="+second.HTTP))
	// Without any context, URL and token are enough.
	nobody := newShell(t).with("MERIDIAN_URL="+first.HTTP, "MERIDIAN_TOKEN="+first1["token"].(string))
	reads("at the first", nobody)
	nobody.ok("", "context", "add", "cmd", "--url", first.HTTP, "--token-command", "cat "+filepath.Join(nobody.dir, "t"), "--select")
	if err := os.WriteFile(filepath.Join(nobody.dir, "t"), []byte(first1["token"].(string)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := *nobody
	plain.env = nil
	reads("at the first", &plain)
	if err := os.Remove(filepath.Join(nobody.dir, "t")); err != nil {
		t.Fatal(err)
	}
	plain.fails(1, "token command", "", "pub", "demo:a", "x")
}

// readContext reads the file that dev wrote.
func readContext(t *testing.T, s *shell) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "contexts", "dev.json"))
	if err != nil {
		t.Fatal(err)
	}
	var x map[string]any
	if err := json.Unmarshal(raw, &x); err != nil {
		t.Fatal(err)
	}
	return x
}
