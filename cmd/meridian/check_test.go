package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	write := func(name string, lines ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pub := write("pub.jsonl",
		`{"kind":"log","v":1,"name":"pub","clock":"c"}`,
		`{"kind":"publish","t":1,"op":1,"channel":"demo:x","producer":"p","n":1,"digest":"000000000000000a"}`,
		`{"kind":"answer","t":2,"op":1,"code":"done","at":"1:1"}`)
	sub := write("sub.jsonl",
		`{"kind":"log","v":1,"name":"sub","clock":"c"}`,
		`{"kind":"subscribe","t":3,"sub":1,"channel":"demo:x","from":"first"}`,
		`{"kind":"ok","t":4,"sub":1,"at":"1:0","head":"1:1"}`,
		`{"kind":"drained","t":5,"sub":1}`)

	if r := s.ok("", "check", pub); !strings.Contains(r.out, "1 acknowledged") || !strings.HasSuffix(r.out, "ok\n") {
		t.Errorf("a log without fault:\n%s", r.out)
	}
	s.fails(exitBroken, "a promise was broken: 1 violations", "", "check", pub, sub)
	r := s.run("", "check", pub, sub)
	for _, want := range []string{"P2 broken in demo:x", sub + ":3: ", pub + ":3: "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	lines := jsonLines(t, s.run("", "check", "-o", "json", pub, sub).out)
	if len(lines) != 1 || lines[0]["Counts"].(map[string]any)["Broken"] != 1.0 {
		t.Errorf("as JSON: %v", lines)
	}

	bad := write("bad.jsonl", `{"kind":"log","v":1,"name":"bad"}`, `{"kind":"answer","t":1,"op":7,"code":"done","at":"1:1"}`)
	s.fails(exitFailed, bad+":2: not a log of version 1: no line before begins op 7", "", "check", bad)
	s.fails(exitFailed, "-:1: not a log of version 1: version 2 of the format", `{"kind":"log","v":2}`+"\n", "check", "-")
	s.fails(exitFailed, "no such file", "", "check", bad+".old")
	s.fails(exitUsage, "which logs?", "", "check")
	s.fails(exitUsage, "namespace", "", "check", "--kept", "Demo", pub)
}
