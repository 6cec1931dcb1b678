package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeCoreRefuses: what other nodes would refuse, and a folder that is in use, are told before
// anything else, with the exit code that nodes.md gives.
func TestServeCoreRefuses(t *testing.T) {
	x := newSite(t)
	own := x.member(t, "node", "n1")
	other, edge := x.member(t, "node", "n2"), x.member(t, "edge", "edge-1")
	stranger := strings.Replace(own, x.ca.file("ca.pem"), newSite(t).ca.file("ca.pem"), 1)
	address, ops := freeAddress(t), freeAddress(t)
	write := func(name, tls string) string {
		path := filepath.Join(x.ca.dir, name+".yaml")
		content := fmt.Sprintf("name: n1\nfleet: test\ndata: %s\nlisten: %s\nops: %s\ntls: %s\nnodes: [{name: n1, address: %q, region: eu}]\n%s",
			x.ca.file("data"), address, ops, tls, address, home)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", own)
	for name, tc := range map[string]struct{ tls, want string }{
		"of another node":          {other, `names ["spiffe://test/node/n2"], not "spiffe://test/node/n1"`},
		"of an edge":               {edge, `names ["spiffe://test/edge/edge-1"], not "spiffe://test/node/n1"`},
		"of a different authority": {stranger, "signed by unknown authority"},
	} {
		path := write("bad", tc.tls)
		t.Run(name, func(t *testing.T) {
			x.s.fails(1, tc.want, "", "serve", "core", "--config", path, "--bootstrap")
			x.s.fails(1, tc.want, "", "config", "check", "--for", "core", "--config", path)
		})
	}
	x.s.fails(24, "--bootstrap", "", "serve", "core", "--config", good)
	x.s.fails(2, "both set", "", "serve", "core", "--config", good, "--bootstrap", "--join")

	p := x.s.start("serve", "core", "--config", good, "--bootstrap")
	p.ready()
	x.s.fails(20, "another process has it open", "", "serve", "core", "--config", good)
	x.s.fails(1, "in use", "", "serve", "core", "--config", good, "--set", "data="+x.ca.file("elsewhere"), "--bootstrap")
	if _, err := os.Stat(x.ca.file("elsewhere")); err == nil {
		t.Error("a folder was begun for a node that could not listen")
	}
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr())
	}
}
