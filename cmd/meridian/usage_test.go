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
		"sub: which channel?":                        {"sub"},
		"pub: which channel?":                        {"pub"},
		"history: 2 channels; write one":             {"history", "demo:a", "demo:b"},
		"--rate NaN":                                 {"pub", "demo:a", "x", "--rate", "NaN"},
		"--rate 1e-12":                               {"pub", "demo:a", "x", "--rate", "1e-12"},
		"--id is empty":                              {"pub", "demo:a", "x", "--id", ""},
		"meridian completion: which command?":        {"completion"},
		`unknown command "csh" for "meridian compl`:  {"completion", "csh"},
		`unknown command "frobs"`:                    {"help", "frobs"},
		`fanout has no row "sessions"; rows: chan`:   {"bench", "fanout", "sessions"},
		`flow control "up"; write off, on or both`:   {"bench", "idle", "--flow-control", "up"},
		`listen: "x" is not HOST:PORT`:               {"dev", "--listen", "x"},
		`ops: "0.0.0.0:1" is not on loopback`:        {"dev", "--set", "ops=0.0.0.0:1"},
		"limits.sessions: -2 is no limit":            {"dev", "--set", "limits.sessions=-2"},
		"everyone on the way could read the token":   {"context", "add", "x", "--url", "http://relay.example.com"},
		"https://u:xxxxx@h":                          {"context", "add", "x", "--url", "https://u:secret@h"},
		"write only https://HOST:PORT":               {"pub", "demo:a", "x", "--url", "https://h/v1/session"},
		"standard input has no token":                {"context", "add", "x", "--url", "https://h", "--token", "-"},
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
