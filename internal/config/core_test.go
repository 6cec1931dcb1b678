package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCoreCheck: what a node cannot begin with is refused by its key, before anything starts.
func TestCoreCheck(t *testing.T) {
	file := write(t, "")
	good := func() Core {
		c := DefaultCore()
		c.Name, c.Fleet, c.Data = "n1", "prod", filepath.Join(t.TempDir(), "data")
		c.TLS = MutualTLS{CA: file, Cert: file, Key: file}
		c.Nodes = []NodeAt{{Name: "n1", Address: "10.0.1.7:4434", Region: "eu", Zone: "a"}, {Name: "n2", Address: "10.0.2.7:4434", Region: "us"}}
		c.Namespaces = map[string]Namespace{"chat": {Age: Age(time.Hour), Class: "global", Home: "us", Learners: []string{"eu"}}}
		return c
	}
	c := good()
	if err := c.Check(); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	for name, tc := range map[string]struct {
		change func(*Core)
		want   string
	}{
		"no fleet":      {func(c *Core) { c.Fleet = "" }, "fleet: is empty"},
		"no data":       {func(c *Core) { c.Data = "" }, "data: is empty"},
		"relative data": {func(c *Core) { c.Data = "data" }, `data: "data" depends on where the process starts`},
		"listen":        {func(c *Core) { c.Listen = "foo" }, `listen: "foo" is not HOST:PORT`},
		"cert":          {func(c *Core) { c.TLS.Cert = "no-such.pem" }, "tls.cert: open no-such.pem"},
		"no shards":     {func(c *Core) { c.Shards = 0 }, "shards: 0 is not 1 to 4096"},
		"cache":         {func(c *Core) { c.Cache = 1 }, "cache: 1 is less than 1MiB"},
		"budget":        {func(c *Core) { c.Budget = -1 }, "budget: -1 is less than 1MiB"},
		"both":          {func(c *Core) { c.Bootstrap, c.Join = true, true }, "join: and bootstrap are both set"},
		"no nodes":      {func(c *Core) { c.Nodes = nil }, "nodes: is empty"},
		"twice":         {func(c *Core) { c.Nodes[1].Name = "n1" }, `nodes[1].name: "n1" stands there twice`},
		"no port":       {func(c *Core) { c.Nodes[1].Address = "10.0.2.7:0" }, `nodes[1].address: "10.0.2.7:0" has no port`},
		"no region":     {func(c *Core) { c.Nodes[1].Region = "" }, "nodes[1].region: is empty"},
		"stranger":      {func(c *Core) { c.Name = "n9" }, `name: "n9" is none of nodes: [n1 n2]`},
		"no namespaces": {func(c *Core) { c.Namespaces = nil }, "namespaces: there are none"},
		"class":         {func(c *Core) { c.Namespaces["x"] = Namespace{Class: "durable"} }, `namespaces.x.class: "durable": classes are`},
		"home":          {func(c *Core) { c.Namespaces["x"] = Namespace{Home: "mars"} }, `namespaces.x: "mars" is not a region; regions: [eu us]`},
		"learners":      {func(c *Core) { c.Namespaces["x"] = Namespace{Learners: []string{"mars"}} }, `namespaces.x: "mars" is not a region`},
		"messages":      {func(c *Core) { c.Namespaces["x"] = Namespace{Messages: -1} }, "namespaces.x.messages: -1 is less than none"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			tc.change(&c)
			if err := c.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
