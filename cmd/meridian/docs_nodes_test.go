package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsNodes: the configurations of docs/nodes.md are right, its certificates are issued as it
// says, and every command that it names is there.
func TestDocsNodes(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	var yaml []block
	command := regexp.MustCompile(`(?m)^(?:\$ )?meridian (.*)$`)
	for _, b := range blocks(t, "nodes.md") {
		if b.lang == "yaml" {
			yaml = append(yaml, b)
			continue
		}
		for _, m := range command.FindAllStringSubmatch(b.code, -1) {
			args := strings.Fields(m[1])
			if args[0] == "pki" {
				for i, arg := range args {
					if arg == "pki" && i > 0 {
						args[i] = dir
					}
				}
				s.ok("", args...)
				continue
			}
			// It fails for want of nodes, and not of a flag or an argument.
			if r := s.run("", append(args, "--node", "http://127.0.0.1:1")...); r.code != exitUnhealthy {
				t.Errorf("%v: meridian %s: exit code %d: %s", b, m[1], r.code, r.err)
			}
		}
	}
	if len(yaml) != 2 {
		t.Fatalf("%d configurations; want a node's and an edge's upstream", len(yaml))
	}
	here := strings.NewReplacer("/etc/meridian", dir, "/var/lib/meridian", filepath.Join(dir, "data"))
	check := func(name, kind, content string) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(here.Replace(content)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.ok("", "config", "check", "--for", kind, "--config", path)
	}
	check("n1.yaml", "core", yaml[0].code)
	x := newSite(t)
	whole, err := os.ReadFile(x.config(t, "edge-1", yaml[1].code))
	if err != nil {
		t.Fatal(err)
	}
	check("edge.yaml", "edge", string(whole))
}
