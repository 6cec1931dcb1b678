package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestUsage: misuse is exit code 2, with the reason and where help is, and nothing on stdout.
func TestUsage(t *testing.T) {
	s := newShell(t)
	for want, args := range map[string][]string{
		`unknown command "frob"`:                     {"frob"},
		"unknown flag: --frob":                       {"pub", "--frob"},
		"requires at least 1 arg":                    {"sub"},
		`channel "x": no namespace`:                  {"pub", "x", "y"},
		`channel "Demo:x"`:                           {"sub", "Demo:x"},
		"a channel is named twice":                   {"sub", "demo:a", "demo:a"},
		`--mode "fast"`:                              {"sub", "demo:a", "--mode", "fast"},
		"it goes with --mode latest":                 {"sub", "demo:a", "--datagram"},
		"write text or json":                         {"sub", "demo:a", "-o", "xml"},
		"--rate -1":                                  {"pub", "demo:a", "--rate", "-1"},
		"only one of them":                           {"pub", "demo:a", "x", "--lines"},
		"use meridian sub for what comes":            {"history", "demo:a", "--from", "live"},
		"meridian context: which command?":           {"context"},
		"meridian: which command?":                   {},
		`context name "../x"`:                        {"context", "add", "../x", "--url", "https://x"},
		`--url "x"`:                                  {"context", "add", "x", "--url", "x"},
		"--token and --token-command":                {"context", "add", "x", "--url", "https://x", "--token", "a", "--token-command", "b"},
		"--cert-hash":                                {"context", "add", "x", "--url", "https://x", "--cert-hash", "zz"},
		"write PATTERN=ACTION":                       {"token", "--allow", "demo:*"},
		"--lifetime":                                 {"token", "--lifetime", "-1h"},
		"--jwks needs --key":                         {"token", "--jwks"},
		`--set "x": write KEY=VALUE`:                 {"config", "show", "--set", "x"},
		"limits.paylod: no such setting; did you":    {"config", "show", "--set", "limits.paylod=1"},
		"--pairs, --for and --window are above 0":    {"bench", "idle", "--pairs", "0"},
		`unknown command "edges" for "meridian se`:   {"serve", "edges"},
		`invalid argument "many" for "--count" flag`: {"sub", "demo:a", "--count", "many"},
	} {
		r := s.run("", args...)
		if r.code != 2 || !strings.Contains(r.err, want) || !strings.Contains(r.err, "--help") || r.out != "" {
			t.Errorf("meridian %q: exit code %d, want 2; stdout %q; stderr, want %q:\n%s", args, r.code, r.out, want, r.err)
		}
	}
}

func TestNoContext(t *testing.T) {
	s := newShell(t)
	s.fails(1, "start `meridian dev`", "", "pub", "demo:a", "x")
	s.fails(1, `context "prod": no such context`, "", "pub", "demo:a", "x", "--context", "prod")
}

// TestDevIsGone: who forgot to start dev is told so, soon.
func TestDevIsGone(t *testing.T) {
	s := newShell(t)
	dev, _ := s.dev("--for", "1ms")
	dev.wait()
	s.fails(1, "is `meridian dev` running?", "", "pub", "demo:a", "x")
}

func TestVersionAndCompletion(t *testing.T) {
	s := newShell(t)
	if out := s.ok("", "version").out; !strings.HasPrefix(out, "meridian ") || strings.Count(out, "\n") != 1 {
		t.Errorf("version: %q", out)
	}
	var v struct{ Version, Go, Platform string }
	if err := json.Unmarshal([]byte(s.ok("", "version", "-o", "json").out), &v); err != nil || v.Version == "" || !strings.HasPrefix(v.Go, "go1.") {
		t.Errorf("version: %+v, %v", v, err)
	}
	for _, of := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := s.ok("", "completion", of).out; !strings.Contains(out, "meridian") {
			t.Errorf("completion %s: %.80q", of, out)
		}
	}
	for _, args := range [][]string{{"--help"}, {"pub", "--help"}, {"help", "serve", "edge"}} {
		if r := s.ok("", args...); !strings.Contains(r.out, "Usage:") || r.err != "" {
			t.Errorf("%q: stdout %.80q, stderr %q", args, r.out, r.err)
		}
	}
}
