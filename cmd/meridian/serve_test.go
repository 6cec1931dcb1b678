package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A site is what an operator prepares for edges: an authority, token keys, and a folder.
type site struct {
	s    *shell
	ca   *authority
	key  string // of tokens
	jwks string
}

func newSite(t *testing.T) *site {
	t.Helper()
	x := &site{s: newShell(t), ca: newAuthority(t), key: writeKey(t)}
	x.jwks = x.ca.file("keys.json")
	if err := os.WriteFile(x.jwks, []byte(x.s.ok("", "token", "--key", x.key, "--jwks").out), 0o600); err != nil {
		t.Fatal(err)
	}
	return x
}

// config writes an edge's configuration file.
func (x *site) config(t *testing.T, name, more string) string {
	t.Helper()
	cert, key := x.ca.issue(t, name)
	path := filepath.Join(x.ca.dir, name+".yaml")
	content := fmt.Sprintf(`
name: %s
region: eu-west
listen: 127.0.0.1:0
ops: 127.0.0.1:0
grace: 300ms
quic_keys: %s
tls: {cert: %s, key: %s}
tokens: {audience: chat, issuers: [{issuer: https://auth.test, jwks: %s}]}
%s`, name, x.ca.file(name+".quic"), cert, key, x.jwks, more)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// at returns a shell whose commands go to an edge, as a subject.
func (x *site) at(t *testing.T, r ready, subject string) *shell {
	t.Helper()
	s := newShell(t)
	token := x.s.ok("", "token", "--key", x.key, "--issuer", "https://auth.test", "--audience", "chat",
		"--subject", subject, "--allow", "chat:*=subscribe,publish,history").out
	s.ok(token, "context", "add", "edge", "--url", "https://"+r.Listen, "--ca", x.ca.file("ca.pem"), "--token", "-", "--select")
	return s
}

const home = "namespaces: {chat: {age: 1h}}\n"

func TestServeEdge(t *testing.T) {
	x := newSite(t)
	edge := x.s.start("serve", "edge", "--config", x.config(t, "edge-1", home))
	r := edge.ready()
	alice := x.at(t, r, "alice")
	sub := alice.start("sub", "chat:a", "-o", "json")
	if state := waitFor(sub, "state"); state["edge"] != "edge-1" || state["region"] != "eu-west" || state["carrier"] != "webtransport" {
		t.Errorf("state: %v", state)
	}
	waitFor(sub, "subscribed")
	x.at(t, r, "bob").ok("", "pub", "chat:a", "hello")
	var m map[string]any
	if sub.json(&m); m["payload"] != "hello" || m["publisher"] != "bob" {
		t.Errorf("message: %v", m)
	}
	// An own certificate is not trusted without --ca.
	stranger := newShell(t)
	stranger.ok("", "context", "add", "edge", "--url", "https://"+r.Listen, "--token", "x", "--select")
	stranger.fails(1, "certificate signed by unknown authority", "", "pub", "chat:a", "x")

	edge.signal(syscall.SIGTERM)
	if code := edge.wait(); code != 0 {
		t.Errorf("exit code %d; stderr:\n%s", code, edge.stderr())
	}
	waitForState(sub, "reconnecting")
}

// TestServeEdgeOverPeers: an edge whose home is at another: fan-out over two hops.
func TestServeEdgeOverPeers(t *testing.T) {
	x := newSite(t)
	mutual := func(name string) string {
		cert, key := x.ca.issue(t, name)
		return fmt.Sprintf("{ca: %s, cert: %s, key: %s}", x.ca.file("ca.pem"), cert, key)
	}
	first := x.s.start("serve", "edge", "--config",
		x.config(t, "edge-1", home+"peers: {listen: 127.0.0.1:0, tls: "+mutual("peer-1")+"}\n"))
	r1 := first.ready()
	second := x.s.start("serve", "edge", "--config",
		x.config(t, "edge-2", "upstream: {kind: nodes, nodes: ["+r1.Peers+"], links: 2, tls: "+mutual("peer-2")+"}\n"))
	r2 := second.ready()

	alice, bob := x.at(t, r1, "alice"), x.at(t, r2, "bob")
	sub := bob.start("sub", "chat:a", "--from", "start", "--count", "200", "-o", "json")
	waitFor(sub, "subscribed")
	var input strings.Builder
	for i := range 100 {
		fmt.Fprintln(&input, i)
	}
	alice.ok(input.String(), "pub", "chat:a", "--lines")
	bob.ok(input.String(), "pub", "chat:a", "--lines")
	for i := range 200 {
		var m map[string]any
		if sub.json(&m); m["payload"] != fmt.Sprint(i%100) {
			t.Fatalf("message %d: %v", i, m)
		}
		if want := []string{"alice", "bob"}[i/100]; m["publisher"] != want {
			t.Fatalf("message %d is by %v, want %v", i, m["publisher"], want)
		}
	}
}

// TestHomeIsAway: who waits for a home that does not answer is told what for.
func TestHomeIsAway(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	x := newSite(t)
	cert, key := x.ca.issue(t, "peer")
	edge := x.s.start("serve", "edge", "--config", x.config(t, "edge-1", fmt.Sprintf(
		"upstream: {kind: nodes, nodes: [%q], tls: {ca: %s, cert: %s, key: %s}}\n", silent.LocalAddr(), x.ca.file("ca.pem"), cert, key)))
	alice := x.at(t, edge.ready(), "alice")
	for _, p := range []*process{
		alice.start("pub", "chat:a", "x"), alice.start("sub", "chat:a", "-o", "json"), alice.start("history", "chat:a"),
	} {
		p.logs("no answer yet from the home of chat:a", 1)
	}
}

// TestReload: SIGHUP puts new limits, certificates and token keys to use, and a broken file
// changes nothing.
func TestReload(t *testing.T) {
	x := newSite(t)
	path := x.config(t, "edge-1", home)
	edge := x.s.start("serve", "edge", "--config", path)
	r := edge.ready()
	alice := x.at(t, r, "alice")
	before := x.shown(t, r)
	big := strings.Repeat("x", 2000)
	alice.ok("", "pub", "chat:a", big)

	reload := func(more, says string, times int) {
		t.Helper()
		x.config(t, "edge-1", more) // a new certificate too
		edge.signal(syscall.SIGHUP)
		edge.logs(says, times)
	}
	reload(home+"limits: {payload: 1KiB}\n", "msg=reloaded", 1)
	if x.shown(t, r) == before {
		t.Error("the old certificate is shown")
	}
	alice.fails(1, "too_large", "", "pub", "chat:a", big)
	reload(home+"limits: {paylod: 3KiB}\n", "did you mean limits.payload?", 1)
	reload("limits: {payload: 3KiB}\n", "namespaces: there are none", 1)
	alice.fails(1, "too_large", "", "pub", "chat:a", big)
	reload(home+"origins: [https://a.test]\nlimits: {payload: 3KiB}\n", "need a restart", 1)
	alice.ok("", "pub", "chat:a", big)

	// Another key for tokens: those of the old one are refused.
	old := alice
	x.key = writeKey(t)
	if err := os.WriteFile(x.jwks, []byte(x.s.ok("", "token", "--key", x.key, "--jwks").out), 0o600); err != nil {
		t.Fatal(err)
	}
	edge.signal(syscall.SIGHUP)
	edge.logs("token keys loaded", 2)
	old.fails(1, "unauthorized", "", "pub", "chat:a", "x")
	x.at(t, r, "alice").ok("", "pub", "chat:a", "x")
}

// shown returns the serial number of the certificate that an edge shows.
func (x *site) shown(t *testing.T, r ready) string {
	t.Helper()
	roots, err := pool(x.ca.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", r.Listen, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// eventually waits until what a signal asked for has happened.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s", patience, what)
		}
	}
}

// TestDrainTurnsAway: while an edge drains it is not ready, and takes no new sessions.
func TestDrainTurnsAway(t *testing.T) {
	x := newSite(t)
	edge := x.s.start("serve", "edge", "--config", x.config(t, "edge-1", home), "--grace", "5s")
	r := edge.ready()
	alice := x.at(t, r, "alice")
	sub := alice.start("sub", "chat:a", "-o", "json") // keeps the drain going
	waitFor(sub, "subscribed")
	edge.signal(syscall.SIGTERM)
	eventually(t, "readyz is 503", func() bool {
		resp, err := http.Get("http://" + r.Ops + "/readyz")
		if err != nil {
			t.Fatalf("readyz: %v", err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	sub.signal(syscall.SIGINT)
	if code := edge.wait(); code != 0 {
		t.Errorf("exit code %d; stderr:\n%s", code, edge.stderr())
	}
}
