package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigCheck(t *testing.T) {
	x := newSite(t)
	path := x.config(t, "edge-1", home)
	if got := x.s.ok("", "config", "check", "--config", path).out; got != "ok\n" {
		t.Errorf("check: %q", got)
	}
	x.s.with("MERIDIAN_CONFIG="+path).ok("", "config", "check")
	for want, more := range map[string]string{
		"regoin: no such setting; did you mean region? (from " + path + ")": home + "regoin: eu\n",
		"namespaces: there are none":                                        "",
		"quic: no such setting; did you mean quic_keys?":                    home + "quic: x\n",
		`namespaces.chat.age: "soon" is not a time`:                         "namespaces: {chat: {age: soon}}\n",
		"upstream.nodes: is empty":                                          "upstream: {kind: nodes}\n",
	} {
		x.config(t, "edge-1", more)
		x.s.fails(1, want, "", "config", "check", "--config", path)
		x.s.fails(1, want, "", "serve", "edge", "--config", path)
	}
	x.config(t, "edge-1", home)
	x.s.fails(1, "does not exist", "", "config", "check", "--config", path+".old")
	x.s.fails(2, "did you mean limits.payload?", "", "config", "check", "--config", path, "--set", "limits.paylod=1")
	x.s.with("MERIDIAN_REGOIN=x").fails(1, "did you mean MERIDIAN_REGION?", "", "config", "check", "--config", path)

	// What the files hold is checked too.
	cert, key := filepath.Join(x.ca.dir, "edge-1.pem"), filepath.Join(x.ca.dir, "edge-1.key")
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{cert: "certificate " + cert, key: "with key " + key, x.jwks: "https://auth.test"} {
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		x.s.fails(1, want, "", "config", "check", "--config", path)
		if err := os.WriteFile(file, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := os.ReadFile(cert); err != nil || !slices.Equal(after, good) {
		t.Fatal("the test left a damaged certificate")
	}
	x.s.ok("", "config", "check", "--config", path)
}

func TestConfigShow(t *testing.T) {
	x := newSite(t)
	path := x.config(t, "edge-1", home)
	r := x.s.with("MERIDIAN_GRACE=9s").ok("", "config", "show", "--config", path, "--set", "limits.payload=128KiB", "-o", "json")
	lines := jsonLines(t, r.out)
	for _, want := range [][3]string{
		{"name", "edge-1", path},
		{"grace", "9s", "environment MERIDIAN_GRACE"},
		{"limits.payload", "128KiB", "flag"},
		{"limits.session.subscriptions", "1000", "default"},
		{"namespaces.chat.age", "1h0m0s", path},
		{"tokens.issuers[0].issuer", "https://auth.test", path},
	} {
		if !slices.ContainsFunc(lines, func(l map[string]any) bool {
			return l["key"] == want[0] && l["value"] == want[1] && l["from"] == want[2]
		}) {
			t.Errorf("no line %q in\n%s", want, r.out)
		}
	}
	if text := x.s.ok("", "config", "show", "--config", path).out; !strings.Contains(text, "name") || strings.Count(text, "\n") != len(lines) {
		t.Errorf("as text:\n%s", text)
	}
}

// TestDocumentedSettings: the examples in the documentation are made of settings that exist.
func TestDocumentedSettings(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t)
	blocks := 0
	for i, part := range strings.Split(string(page), "```") {
		block, ok := strings.CutPrefix(part, "yaml\n")
		if i%2 == 0 || !ok {
			continue
		}
		blocks++
		path := filepath.Join(t.TempDir(), "example.yaml")
		if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		s.ok("", "config", "show", "--config", path)
	}
	if blocks != 3 {
		t.Errorf("%d examples, want 3", blocks)
	}
}
