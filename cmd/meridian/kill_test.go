package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/wan"
)

// ports are for the processes of all tests.
var ports wan.Ports

// freeAddress returns an address that nobody takes while its process is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	at, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	return at.String()
}

// member writes a certificate that names a process of the fleet: kind is node or edge.
func (x *site) member(t *testing.T, kind, name string) string {
	t.Helper()
	x.ca.sign(t, name+"-fleet", &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "test", Path: "/" + kind + "/" + name}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return fmt.Sprintf("{ca: %s, cert: %s, key: %s}", x.ca.file("ca.pem"), x.ca.file(name+"-fleet.pem"), x.ca.file(name+"-fleet.key"))
}

// A crew is three nodes and an edge as processes, each of which can be killed and started again.
type crew struct {
	t         *testing.T
	x         *site
	ops       []string
	commands  map[string][]string
	processes map[string]*process
	edge      ready
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	c := &crew{t: t, x: newSite(t), commands: map[string][]string{}, processes: map[string]*process{}}
	names := []string{"n1", "n2", "n3"}
	var list strings.Builder
	var addresses []string
	for i, name := range names {
		addresses = append(addresses, freeAddress(t))
		c.ops = append(c.ops, freeAddress(t))
		fmt.Fprintf(&list, "  - {name: %s, address: %q, region: eu, zone: z%d}\n", name, addresses[i], i)
	}
	for i, name := range names {
		path := filepath.Join(c.x.ca.dir, name+".yaml")
		content := fmt.Sprintf("name: %s\nfleet: test\ndata: %s\nlisten: %s\nops: %s\nshards: 2\ntls: %s\nnodes:\n%snamespaces: {chat: {age: 1h, messages: 1000000, bytes: 1GiB}}\n",
			name, c.x.ca.file("data-"+name), addresses[i], c.ops[i], c.x.member(t, "node", name), list.String())
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c.commands[name] = []string{"serve", "core", "--config", path, "--bootstrap"}
	}
	c.commands["edge"] = []string{"serve", "edge", "--listen", freeAddress(t), "--config", c.x.config(t, "edge-1", fmt.Sprintf(
		"upstream: {kind: nodes, nodes: [%s], links: 2, tls: %s}\nlimits: {session: {publishes_per_second: -1}, subject: {publishes_per_second: -1}, address: {publishes_per_second: -1}}\n",
		strings.Join(addresses, ", "), c.x.member(t, "edge", "edge-1")))}
	for _, name := range append(names, "edge") {
		c.start(name)
	}
	return c
}

func (c *crew) start(name string) {
	c.t.Helper()
	p := c.x.s.start(c.commands[name]...)
	r := p.ready()
	if c.processes[name] = p; name == "edge" {
		c.edge = r
	}
}

// kill -9s a process.
func (c *crew) kill(name string) {
	c.t.Helper()
	c.processes[name].signal(os.Kill)
	c.processes[name].wait()
}

// TestNumbersThroughKills: nodes are killed while numbers are published, then all processes, the
// edge among them. Every number that was acknowledged is there once, in order, and that is all of
// them.
func TestNumbersThroughKills(t *testing.T) {
	c := newCrew(t)
	alice := c.x.at(t, c.edge, "alice")
	acks, pubLog, subLog := filepath.Join(t.TempDir(), "acks"), filepath.Join(t.TempDir(), "pub"), filepath.Join(t.TempDir(), "sub")
	const count = 30_000
	pub := alice.start("pub", "chat:numbers", "--lines", "--rate", "5000", "--acks", acks, "--log", pubLog)
	go func() {
		for i := range count {
			if _, err := fmt.Fprintln(pub.in, i+1); err != nil {
				return
			}
		}
		pub.in.Close()
	}()
	printed := make(chan []string, 1)
	first := make(chan struct{})
	go func() {
		line, err := pub.reader.ReadString('\n')
		close(first)
		rest, err2 := io.ReadAll(pub.reader)
		if errors.Join(err, err2) != nil {
			t.Errorf("read the positions: %v, %v", err, err2)
		}
		printed <- strings.Fields(line + string(rest))
	}()
	select {
	case <-first:
	case <-time.After(patience):
		t.Fatal("nothing was acknowledged")
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		c.kill(name)
		time.Sleep(300 * time.Millisecond) // it is missed, or not yet
		c.start(name)
		time.Sleep(700 * time.Millisecond)
	}
	for name := range c.commands {
		c.kill(name)
	}
	for name := range c.commands {
		c.start(name)
	}
	positions := <-printed
	if code := pub.wait(); code != 0 || !strings.HasSuffix(pub.stderr(), "30000 acknowledged, 0 refused, 0 unknown\n") {
		t.Errorf("exit code %d, stderr %s", code, pub.stderr())
	}
	if len(positions) != count {
		t.Errorf("%d positions", len(positions))
	}
	var want []string
	for i := range count {
		want = append(want, strconv.Itoa(i+1))
	}
	got := alice.ok("", "sub", "chat:numbers", "--from", "start", "--until-head", "--log", subLog).lines()
	if !slices.Equal(got, want) {
		t.Errorf("%d numbers of %d are there, or not in order", len(got), count)
	}
	alice.ok("", "check", "--kept", "chat:*", pubLog, subLog)
	b, err := os.ReadFile(acks)
	if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); err != nil || len(lines) != count ||
		lines[count-1] != positions[count-1]+"\t30000" {
		t.Errorf("--acks has %d lines (%v), the last is %q", len(lines), err, lines[len(lines)-1])
	}
}

// TestStatusThroughKills: who is subscribed while all nodes are away is told so, and told when
// the way is there again; nothing is missed.
func TestStatusThroughKills(t *testing.T) {
	c := newCrew(t)
	alice := c.x.at(t, c.edge, "alice")
	alice.ok("", "pub", "chat:a", "before")
	sub := alice.start("sub", "chat:a", "--from", "start", "-o", "json")
	waitFor(sub, "subscribed")
	var m map[string]any
	if sub.json(&m); m["payload"] != "before" {
		t.Fatalf("message %v", m)
	}
	nodes := []string{"n1", "n2", "n3"}
	for _, name := range nodes {
		c.kill(name)
	}
	if e := waitFor(sub, "status"); e["state"] != "lost" {
		t.Errorf("status %v", e)
	}
	for _, name := range nodes {
		c.start(name)
	}
	if e := waitFor(sub, "status"); e["state"] != "restored" {
		t.Errorf("status %v", e)
	}
	alice.ok("", "pub", "chat:a", "after")
	for m = nil; m["payload"] == nil; { // it may be lost once more, as long as nobody leads
		m = nil
		if sub.json(&m); m["event"] != nil && m["event"] != "status" {
			t.Fatalf("event %v", m)
		}
	}
	if m["payload"] != "after" {
		t.Errorf("message %v", m)
	}
}
