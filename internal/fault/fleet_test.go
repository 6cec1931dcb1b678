package fault

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/internal/wan"
)

const (
	fleetID = "faults"
	shards  = 2 // of each of three classes: ephemeral, region, global

	// brief is the namespace of class ephemeral.
	brief = "brief"
)

// A fleet is nodes and an edge as processes, and a network with a place for each: whoever dials
// a node takes a path of its own, so that each way can be cut alone.
type fleet struct {
	t      *testing.T // which uses it now
	dir    string
	net    *wan.Network
	nodes  []*node
	edge   *process
	url    string // of the edge
	ca     *pki.Authority
	roots  *x509.CertPool
	signer *token.Signer
}

// A node is a process `meridian serve core`.
type node struct {
	process
	listen netip.AddrPort
	ops    netip.AddrPort
	data   string // its folder
	config map[string]any
	api    *nodeapi.Client
}

// newFleet starts n nodes and an edge, until the test ends.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	return newFleetOf(t, n, func(*process) {})
}

// newFleetOf lets change prepare each node's process.
func newFleetOf(t *testing.T, n int, change func(*process)) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), net: wan.New(wan.NetworkConfig{Seed: 1})}
	var err error
	f.ca, err = pki.NewAuthority(fleetID, time.Now())
	f.must(err)
	f.roots = f.ca.Pool()
	pem, _, err := f.ca.Marshal()
	f.must(err)
	f.must(os.WriteFile(f.file("ca.pem"), pem, 0o600))
	for i := range n {
		f.addNode(fmt.Sprintf("node-%d", i+1))
	}
	for _, x := range f.nodes {
		change(&x.process)
		f.configure(x)
	}
	f.addEdge()
	t.Cleanup(func() { f.t = t; f.close() })
	if f.start("--bootstrap"); t.Failed() {
		t.FailNow()
	}
	f.must(f.edge.start())
	return f
}

// must ends the test on an error.
func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) file(name string) string { return filepath.Join(f.dir, name) }

// issue writes a certificate and its key.
func (f *fleet) issue(role pki.Role, name string) {
	f.t.Helper()
	leaf, err := f.ca.Issue(role, name, []string{"127.0.0.1"}, 2, time.Now())
	f.must(err)
	f.must(os.WriteFile(f.file(name+".pem"), leaf.Cert, 0o600))
	f.must(os.WriteFile(f.file(name+".key"), leaf.Key, 0o600))
}

func (f *fleet) addNode(name string) {
	f.t.Helper()
	f.issue(pki.Node, name)
	x := &node{data: f.file(name + ".data")}
	x.name, x.log, x.binary = name, f.file(name+".log"), binary
	x.args = []string{"serve", "core", "--config", f.file(name + ".json")}
	var err error
	x.listen, err = ports.Take()
	f.must(err)
	x.ops, err = ports.Take()
	f.must(err)
	x.api, err = nodeapi.NewClient("http://"+x.ops.String(), nil)
	f.must(err)
	f.nodes = append(f.nodes, x)
}

// path is where from dials a node: a proxy, or for itself the address that it listens at.
func (f *fleet) path(from string, to *node) string {
	f.t.Helper()
	if from == to.name {
		return to.listen.String()
	}
	p, err := f.net.Open(from, to.name, wan.Config{Server: to.listen})
	f.must(err)
	f.background("path", p.Run)
	return p.Addr().String()
}

// background runs something until the test ends, after all processes.
func (f *fleet) background(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			f.t.Errorf("%s: %v", name, err)
		}
	})
}

func (f *fleet) write(file string, v any) {
	f.t.Helper()
	b, err := json.Marshal(v) // JSON is YAML
	f.must(err)
	f.must(os.WriteFile(file, b, 0o600))
}

func (f *fleet) mutualTLS(name string) map[string]any {
	return map[string]any{"ca": f.file("ca.pem"), "cert": f.file(name + ".pem"), "key": f.file(name + ".key")}
}

func (f *fleet) configure(x *node) {
	f.t.Helper()
	var list []any
	for i, to := range f.nodes {
		list = append(list, map[string]any{
			"name": to.name, "address": f.path(x.name, to), "region": "here", "zone": fmt.Sprintf("zone-%d", i),
		})
	}
	x.config = map[string]any{
		"name": x.name, "fleet": fleetID, "data": x.data, "listen": x.listen.String(), "ops": x.ops.String(),
		"grace": "5s", "log": map[string]any{"level": "info"}, "tls": f.mutualTLS(x.name),
		"nodes": list, "shards": shards,
		"namespaces": map[string]any{
			"demo": map[string]any{"class": "region", "age": "12h", "bytes": "1GiB"},
			"wide": map[string]any{"class": "global", "age": "12h", "bytes": "1GiB"},
			brief:  map[string]any{"class": "ephemeral", "age": "12h", "bytes": "1GiB"},
		},
	}
	f.write(f.file(x.name+".json"), x.config)
}

func (f *fleet) addEdge() {
	f.t.Helper()
	f.issue(pki.Edge, "edge-1")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	f.must(err)
	f.signer, err = token.NewSigner(key)
	f.must(err)
	jwks, err := f.signer.JWKS()
	f.must(err)
	f.must(os.WriteFile(f.file("jwks.json"), jwks, 0o600))
	listen, err := ports.Take()
	f.must(err)
	var nodes []string
	for _, x := range f.nodes {
		nodes = append(nodes, f.path("edge-1", x))
	}
	f.url = "https://" + listen.String()
	f.edge = &process{
		name: "edge-1", log: f.file("edge-1.log"), binary: binary,
		args: []string{"serve", "edge", "--config", f.file("edge-1.json")},
	}
	f.write(f.file("edge-1.json"), map[string]any{
		"name": "edge-1", "region": "here", "listen": listen.String(), "ops": "", "grace": "1s",
		"log":       map[string]any{"level": "info"},
		"quic_keys": f.file("edge-1.quic"), // clients notice a restart at once
		"tls":       map[string]any{"cert": f.file("edge-1.pem"), "key": f.file("edge-1.key")},
		"tokens": map[string]any{"audience": fleetID, "issuers": []any{
			map[string]any{"issuer": "https://faults.test", "jwks": f.file("jwks.json")},
		}},
		"upstream": map[string]any{"kind": "nodes", "nodes": nodes, "links": 2, "tls": f.mutualTLS("edge-1")},
	})
}

// metric reads a number of a node's.
func (f *fleet) metric(x *node, name string) float64 {
	f.t.Helper()
	r, err := http.Get("http://" + x.ops.String() + "/metrics")
	f.must(err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	f.must(err)
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "meridian_core_"+name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			f.must(err)
			return n
		}
	}
	f.t.Fatalf("%s has no metric %q", x.name, name)
	return 0
}

// client returns a client of the edge.
func (f *fleet) client(subject string) *client.Client {
	f.t.Helper()
	signed, err := f.signer.Sign(token.Claims{
		Issuer: "https://faults.test", Audience: fleetID, Subject: subject, Lifetime: 24 * time.Hour,
		Capabilities: map[string][]string{"*": {"subscribe", "publish", "history"}},
	})
	f.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, f.url, client.Config{
		Token: signed, TLS: &tls.Config{RootCAs: f.roots}, BackoffMost: time.Second, Window: 1 << 20,
	})
	f.must(err)
	return c
}

// start starts all nodes that do not run, at the same time: none serves without a quorum.
func (f *fleet) start(more ...string) {
	f.t.Helper()
	errs := make(chan error, len(f.nodes))
	for _, x := range f.nodes {
		go func() {
			if x.running() {
				errs <- nil
				return
			}
			x.kill() // of one that ended by itself, what is left here
			errs <- x.start(more...)
		}()
	}
	for range f.nodes {
		if err := <-errs; err != nil {
			f.t.Error(err)
		}
	}
}

// close ends every process, and shows what they said if the test failed.
func (f *fleet) close() {
	for _, x := range f.nodes {
		x.freeze(false)
		x.kill()
	}
	f.edge.kill()
	f.net.Close()
	if f.t.Failed() {
		for _, x := range f.nodes {
			f.t.Logf("%s said last:\n%s", x.name, x.tail(25))
		}
		f.t.Logf("%s said last:\n%s", f.edge.name, f.edge.tail(10))
	}
}

// leader returns the node that leads the shard, and nil if none says so.
func (f *fleet) leader(ctx context.Context, id shard.ID) *node {
	var found *node
	var term uint64
	for _, x := range f.nodes {
		if !x.running() {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		s, err := x.api.Shard(ctx, id)
		cancel()
		if err == nil && s.State == "leading" && s.Term >= term {
			found, term = x, s.Term
		}
	}
	return found
}

// leading waits until a shard has a leader.
func (f *fleet) leading(id shard.ID) *node {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if x := f.leader(ctx, id); x != nil {
			return x
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			f.t.Fatalf("%v has no leader for 30 s", id)
		}
	}
}

// follower returns a node that does not lead the shard.
func (f *fleet) follower(id shard.ID) *node {
	f.t.Helper()
	l := f.leading(id)
	for _, x := range f.nodes {
		if x != l {
			return x
		}
	}
	return nil
}
