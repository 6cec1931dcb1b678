package config

import (
	"math"
	"strings"
	"testing"
	"time"
)

// valid returns a configuration without a fault.
func valid(t *testing.T) Edge {
	t.Helper()
	file := write(t, "")
	e := DefaultEdge()
	e.TLS = KeyPair{Cert: file, Key: file}
	e.Tokens.Issuers = []Issuer{{Issuer: "https://auth.example.com", JWKS: "https://auth.example.com/keys"}}
	e.Namespaces = map[string]Namespace{"chat": {Age: Age(time.Hour)}}
	return e
}

func TestEdgeCheck(t *testing.T) {
	e := valid(t)
	if err := e.Check(); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	nodes := func(e *Edge) {
		e.Upstream = Upstream{Kind: "nodes", Nodes: []string{"core:4434"}, Links: 2, TLS: MutualTLS{CA: e.TLS.Cert, Cert: e.TLS.Cert, Key: e.TLS.Cert}}
		e.Namespaces = nil
	}
	if nodes(&e); e.Check() != nil {
		t.Fatalf("a good configuration with nodes: %v", e.Check())
	}
	for name, tc := range map[string]struct {
		change func(*Edge)
		want   string
	}{
		"listen":        {func(e *Edge) { e.Listen = "" }, "listen: is empty; write HOST:PORT"},
		"port":          {func(e *Edge) { e.Listen = "a:x" }, `listen: port "x" of "a:x" is not a number from 0 to 65535`},
		"http":          {func(e *Edge) { e.HTTP = "0.0.0.0:80" }, `http: "0.0.0.0:80" is not on loopback`},
		"http all":      {func(e *Edge) { e.HTTP = ":80" }, `http: ":80" is open to every network; write 127.0.0.1:80`},
		"cert":          {func(e *Edge) { e.TLS.Cert = "no-such.pem" }, "tls.cert: open no-such.pem: no such file"},
		"no key":        {func(e *Edge) { e.TLS.Key = "" }, "tls.key: is empty; name a file"},
		"no issuers":    {func(e *Edge) { e.Tokens.Issuers = nil }, "tokens.issuers: nobody could connect"},
		"jwks http":     {func(e *Edge) { e.Tokens.Issuers[0].JWKS = "http://auth.example.com/k" }, `tokens.issuers[0].jwks: "http://auth.example.com/k": keys are fetched by https only`},
		"origin":        {func(e *Edge) { e.Origins = []string{"https://a.example.com/x"} }, `origins[0]: "https://a.example.com/x" is not an origin`},
		"alternative":   {func(e *Edge) { e.Alternatives = []string{"https://a", "b:443"} }, `alternatives[1]: "b:443" is not an edge's URL`},
		"kind":          {func(e *Edge) { e.Upstream.Kind = "disk" }, `upstream.kind: "disk" is neither memory nor nodes`},
		"no namespaces": {func(e *Edge) { e.Namespaces = nil }, "namespaces: there are none"},
		"bad namespace": {func(e *Edge) { e.Namespaces["Chat"] = Namespace{Age: 1} }, "namespaces.Chat: a namespace's name is"},
		"payload":       {func(e *Edge) { e.Limits.Payload = 2 << 20 }, "limits.payload: 2MiB is more than 1MiB"},
		"below none":    {func(e *Edge) { e.Limits.Subject.Sessions = -5 }, "limits.subject.sessions: -5 is no limit; write a number above 0, or -1 for none"},
		"sessions":      {func(e *Edge) { e.Limits.Sessions = -2 }, "limits.sessions: -2 is no limit"},
		"not a rate":    {func(e *Edge) { e.Limits.Session.SubscribesPerSecond = math.NaN() }, "limits.session.subscribes_per_second: NaN is no limit"},
		"no nodes":      {func(e *Edge) { nodes(e); e.Upstream.Nodes = nil }, "upstream.nodes: is empty"},
		"node port":     {func(e *Edge) { nodes(e); e.Upstream.Nodes[0] = "a:0" }, `upstream.nodes[0]: "a:0" has no port to connect to`},
		"node ca":       {func(e *Edge) { nodes(e); e.Upstream.TLS.CA = "" }, "upstream.tls.ca: is empty"},
		"both":          {func(e *Edge) { nodes(e); e.Namespaces = map[string]Namespace{"a": {Age: 1}} }, "namespaces: belong to the home"},
		"peers":         {func(e *Edge) { e.Peers.Listen = ":4434" }, "peers.tls.ca: is empty"},
		"log":           {func(e *Edge) { e.Log.Level = "loud" }, `log.level: "loud" is none of debug, info, warn, error`},
	} {
		t.Run(name, func(t *testing.T) {
			e := valid(t)
			tc.change(&e)
			if err := e.Check(); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error\n  %v\nwant\n  %s", err, tc.want)
			}
		})
	}
}

func TestDevCheck(t *testing.T) {
	d := DefaultDev()
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	d.Listen = "0.0.0.0:4433"
	if err := d.Check(); err == nil || !strings.HasPrefix(err.Error(), `listen: "0.0.0.0:4433" is not on loopback`) {
		t.Error(err)
	}
}
