package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"slices"
	"time"
)

// Core is the configuration of `meridian serve core`.
type Core struct {
	Name   string        `key:"name"`   // of this node; one of nodes
	Fleet  string        `key:"fleet"`  // all processes of a deployment have the same
	Data   string        `key:"data"`   // folder of logs and states
	Listen string        `key:"listen"` // UDP, HOST:PORT, for nodes and edges
	Ops    string        `key:"ops"`    // health, metrics, shards and channels; empty: none
	Grace  time.Duration `key:"grace"`  // the longest that a drain takes
	Log    Log           `key:"log"`
	TLS    MutualTLS     `key:"tls"` // the certificate names this node
	// Bootstrap begins a new fleet on an empty folder, Join waits on one to be taken in. Both mean
	// nothing to a folder with data.
	Bootstrap bool `key:"bootstrap"`
	Join      bool `key:"join"`
	// Nodes are all nodes of the fleet. They say where shards begin; afterwards they say where
	// nodes are.
	Nodes      []NodeAt             `key:"nodes"`
	Shards     int                  `key:"shards"` // for each class and home; counts when the fleet begins
	Namespaces map[string]Namespace `key:"namespaces"`
	Cache      Bytes                `key:"cache"`  // memory for what is read from disk
	Budget     Bytes                `key:"budget"` // memory for publishes on their way
	Hub        Hub                  `key:"hub"`
}

// NodeAt says where a node is.
type NodeAt struct {
	Name    string `key:"name"`
	Address string `key:"address"` // HOST:PORT, as others reach it
	Region  string `key:"region"`
	Zone    string `key:"zone"` // a failure domain in the region
}

// DefaultCore returns the defaults.
func DefaultCore() Core {
	return Core{
		Listen: "0.0.0.0:4434", Ops: "127.0.0.1:9091", Grace: 10 * time.Second, Shards: 6,
		Log:   Log{Level: "info", Format: "text"},
		Cache: 256 << 20, Budget: 256 << 20,
		Hub: Hub{Ring: 1 << 20, Budget: 256 << 20, Linger: 10 * time.Second},
	}
}

// Classes are those of namespaces.
var Classes = []string{"region", "global", "ephemeral"}

// Check reports everything that is wrong with c, with what it names on this machine included:
// files are read, addresses are not opened.
func (c *Core) Check() error {
	var x checks
	if c.Fleet == "" {
		x.fail("fleet", "is empty; set the name that all processes of the fleet share, such as prod")
	}
	if c.Data == "" {
		x.fail("data", "is empty; name the folder for logs and states")
	} else if !filepath.IsAbs(c.Data) {
		x.fail("data", "%q depends on where the process starts; write an absolute path", c.Data)
	}
	x.address("listen", c.Listen, true)
	x.address("ops", c.Ops, false)
	x.log(c.Log)
	x.mutual("tls", c.TLS)
	if c.Shards < 1 || c.Shards > 4096 {
		x.fail("shards", "%d is not 1 to 4096", c.Shards)
	}
	for key, n := range map[string]Bytes{"cache": c.Cache, "budget": c.Budget} {
		if n < 1<<20 || int64(n) > math.MaxInt64/4 {
			x.fail(key, "%v is less than 1MiB", n)
		}
	}
	if c.Bootstrap && c.Join {
		x.fail("join", "and bootstrap are both set; an empty folder begins a new fleet (bootstrap), or, after a lost disk, waits to be taken in (join)")
	}
	x.nodes(c)
	if len(c.Namespaces) == 0 {
		x.fail("namespaces", "there are none, so every publish would be refused; name at least one")
	}
	x.namespaces(c.Namespaces)
	regions := c.regions()
	for name, ns := range c.Namespaces {
		key := "namespaces." + name
		for _, region := range append([]string{ns.Home}, ns.Learners...) {
			if region != "" && !slices.Contains(regions, region) {
				x.fail(key, "%q is not a region; regions: %v", region, regions)
			}
		}
	}
	return errors.Join(x.faults...)
}

func (c *Core) regions() []string {
	var list []string
	for _, n := range c.Nodes {
		list = append(list, n.Region)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (x *checks) nodes(c *Core) {
	if len(c.Nodes) == 0 {
		x.fail("nodes", "is empty; list all nodes of the fleet, this one among them")
		return
	}
	var names []string
	for i, n := range c.Nodes {
		key := fmt.Sprintf("nodes[%d]", i)
		if n.Name == "" {
			x.fail(key+".name", "is empty; every node has a name")
		}
		if slices.Contains(names, n.Name) {
			x.fail(key+".name", "%q stands there twice", n.Name)
		}
		names = append(names, n.Name)
		x.address(key+".address", n.Address, true)
		if _, port, err := net.SplitHostPort(n.Address); err == nil && port == "0" {
			x.fail(key+".address", "%q has no port; write the one that others reach", n.Address)
		}
		if n.Region == "" {
			x.fail(key+".region", "is empty; say where the node is, such as eu-west")
		}
	}
	if c.Name == "" {
		x.fail("name", "is empty; set which of nodes this is: %v", names)
	} else if !slices.Contains(names, c.Name) {
		x.fail("name", "%q is none of nodes: %v", c.Name, names)
	}
}

// class checks a namespace's.
func (x *checks) class(key string, ns Namespace) {
	if ns.Class != "" && !slices.Contains(Classes, ns.Class) {
		x.fail(key+".class", "%q: classes are %v", ns.Class, Classes)
	}
}

// memory refuses what a home in memory cannot do.
func (x *checks) memory(all map[string]Namespace) {
	for name, ns := range all {
		if ns.Class != "" || ns.Home != "" || len(ns.Learners) > 0 {
			x.fail("namespaces."+name, "class, home and learners are for serve core; a home in memory has none")
		}
	}
}
