package core

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/internal/stack"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/hub"
)

// ErrEmpty is returned by NewNode where the folder has no store, and nothing says that it should
// begin with none.
var ErrEmpty = errors.New("the data folder is empty")

// DefaultSlack is the Slack of a process that serves one node.
const DefaultSlack = 64 << 20

// A NodeConfig configures a Node. Name, Fleet, Dir, Nodes and Namespaces are needed.
type NodeConfig struct {
	Name  shard.Node
	Fleet string
	Dir   string
	// Nodes are all nodes of the fleet, this one among them. They say where shards begin;
	// afterwards the logs' membership counts, and the list only says where a node is.
	Nodes      []Member
	Namespaces map[relay.Namespace]Namespace
	// Shards is how many shards namespaces of one class and home share. It counts once, when
	// the fleet begins. 0: 6.
	Shards int
	// Bootstrap lets an empty folder begin with the shards that the list gives this node. Join
	// lets it begin with none: others are to take this node in.
	Bootstrap, Join bool

	// TLS has the node's certificate, and the fleet's authority as RootCAs and ClientCAs. nil:
	// the node is alone.
	TLS *tls.Config
	// PacketConn is where nodes and edges come; closed by Run. nil: the node is alone.
	PacketConn net.PacketConn
	// Ops serves health, metrics and the API of operators; closed by Run. nil: none.
	Ops net.Listener

	// FS is where Dir is. nil: the operating system's file system.
	FS store.FS
	// Dial opens the sockets from which this node dials others, two of them; the node closes
	// them. nil: on free ports.
	Dial func() (net.PacketConn, error)
	// SteadyFor is how long a node is well before it leads again what is to be led there, and
	// AwayFor the same where that is in another region. 0: 10 s and 5 minutes.
	SteadyFor, AwayFor time.Duration

	Ballast int64 // bytes of a file that is deleted when the disk is full; 0: the store's; below 0: none
	Cache   int64 // bytes of blocks of the store in memory; 0: 256 MiB
	// Slack is how many bytes of garbage may gather, beside as much as is in use, before it is
	// collected: each collection holds up what is under way. 0: none, Go's own measure.
	Slack         int64
	Queue         int        // bytes of publishes that the shards have not taken; 0: 64 MiB
	Budget        uint64     // bytes of publishes on their way; 0: 256 MiB
	Subscriptions int        // open ones; 0: 1,000,000
	Hub           hub.Config // its Upstream is set here
	// Grace is how long a drain takes at most. 0: none takes place.
	Grace time.Duration
	Log   *slog.Logger // nil: nothing
}

func (c NodeConfig) filled() (NodeConfig, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Shards = cmp.Or(c.Shards, 6)
	c.SteadyFor = cmp.Or(c.SteadyFor, steadyFor)
	c.AwayFor = cmp.Or(c.AwayFor, awayFor)
	if c.FS == nil {
		c.FS = store.Disk()
	}
	c.Queue = cmp.Or(c.Queue, 64<<20)
	c.Subscriptions = cmp.Or(c.Subscriptions, 1_000_000)
	if err := checkMembers(c.Nodes, c.Name); err != nil {
		return c, err
	}
	c.Namespaces = maps.Clone(c.Namespaces)
	for name, ns := range c.Namespaces {
		if _, err := relay.ParseNamespace(string(name)); err != nil {
			return c, err
		}
		if err := ns.Policy.Check(); err != nil {
			return c, fmt.Errorf("namespace %q: %w", name, err)
		}
		ns.Class = cmp.Or(ns.Class, shard.Region)
		ns.Home = cmp.Or(ns.Home, c.Nodes[0].Region)
		for _, region := range append(slices.Clone(ns.Learners), ns.Home) {
			if !slices.ContainsFunc(c.Nodes, func(m Member) bool { return m.Region == region }) {
				return c, fmt.Errorf("namespace %q: %q is not a region; regions: %v", name, region, regionsOf(c.Nodes))
			}
		}
		c.Namespaces[name] = ns
	}
	return c, nil
}

func regionsOf(members []Member) []relay.Region {
	var list []relay.Region
	for _, m := range members {
		list = append(list, m.Region)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// self returns the node's own entry of the list.
func (c *NodeConfig) self() Member {
	return c.Nodes[slices.IndexFunc(c.Nodes, func(m Member) bool { return m.Name == c.Name })]
}

// A Node is a core process: replicas, what drives them, and the ways to them.
type Node struct {
	// Set at construction.
	cfg     NodeConfig
	log     *slog.Logger
	store   *store.Store
	notes   *notes
	host    *shard.Host
	local   *Local
	first   *plan // with which the fleet begins
	inbox   *inbox
	frozen  *freezer
	runner  *runner
	router  *Router
	shown   *hub.Hub // what is here, for nodes
	reached *hub.Hub // what can be reached from here, for edges
	network *network // nil: alone

	slack     []byte // never touched, so that it takes no memory
	replacing replacements
	hand      chan struct{} // leaderships are to be handed over
	slowAt    atomic.Int64  // when the disk was last slow, Unix ns
	draining  atomic.Bool
	started   atomic.Bool
}

// NewNode opens the folder and what stands there; Run serves. Errors: ErrEmpty, those of
// store.Open, and of a configuration that cannot be used.
func NewNode(c NodeConfig) (*Node, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	if _, err := c.FS.Stat(c.FS.PathJoin(c.Dir, "IDENTITY")); errors.Is(err, os.ErrNotExist) && !c.Bootstrap && !c.Join {
		if err := store.CheckEmpty(c.FS, c.Dir); err != nil {
			return nil, err // a store without IDENTITY is not empty
		}
		return nil, fmt.Errorf("%w: %s: begin a new fleet on it with --bootstrap; if this node had data and lost it, "+
			"start it with --join, and have it taken in with \"meridian shard replace %s\"", ErrEmpty, c.Dir, c.Name)
	}
	n := &Node{cfg: c, log: c.Log, inbox: &inbox{}, hand: make(chan struct{}, 1)}
	n.slack = make([]byte, max(c.Slack, 0))
	n.replacing.of = make(map[shard.Node][]nodeapi.Replacement)
	n.replacing.active = make(map[shard.Node]bool)
	n.store, err = store.Open(store.Config{
		Dir: c.Dir, FS: c.FS, Fleet: c.Fleet, Node: c.Name, Cache: c.Cache, Ballast: c.Ballast, Logger: c.Log,
		Flushed: n.inbox.flushed, ReadOnly: n.readOnly, Slow: n.slow,
	})
	if err != nil {
		return nil, err
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.store.Close())
	}
	return n, nil
}

// open assembles what stands on the store.
func (n *Node) open() (err error) {
	c := &n.cfg
	if n.notes, _, err = openNotes(c.FS, c.Dir); err != nil {
		return err
	}
	if !n.notes.begun() && !c.Bootstrap && !c.Join {
		return fmt.Errorf("%w: %s: its beginning was cut short; start once more with --bootstrap or --join, as before", ErrEmpty, c.Dir)
	}
	groups, made := n.notes.now.Groups, len(n.store.Replicas()) > 0
	if len(groups) == 0 || !n.notes.begun() && !made {
		groups = groupsOf(c.Namespaces, c.Shards)
	}
	plan, err := newPlan(c.Nodes, groups, c.Namespaces)
	if err != nil {
		return err
	}
	if err := n.notes.agree(plan.digest(c.Nodes), made, c.Join && !c.Bootstrap); err != nil {
		return err
	}
	if err := n.notes.put(c.Namespaces); err != nil {
		return err
	}
	n.first = plan
	n.local = newLocal(c.Name, n.store, plan, c.Queue, c.Subscriptions)
	clock := newSteady()
	n.local.clock = clock.now
	n.local.ask = n.inbox.ask
	n.inbox.signal = n.local.queue.signal
	n.frozen = newFreezer(n.store)
	n.host, err = shard.NewHost(shard.HostConfig{
		Node: c.Name, Store: n.store.Identity().Store, Log: n.store, States: n.store,
		Freeze: n.frozen.freeze, Now: clock.now, Budget: c.Budget, Version: shardVersion, VersionOf: n.versionOf,
		Logger: c.Log,
	})
	if err != nil {
		return err
	}
	for _, r := range n.store.Replicas() {
		if err := n.host.Open(r); err != nil {
			return err
		}
	}
	if !n.notes.begun() {
		err = n.notes.change(func(r *record) { r.Groups, r.Begun = groups, c.Join && !c.Bootstrap })
		if err != nil {
			return err
		}
	}
	n.router = newRouter(n.local, n.wayTo, n.regionOf, c.self().Region)
	n.shown, n.reached = n.fanOut(n.local, true), n.fanOut(n.router, false)
	n.runner = newRunner(n.host, n.store, alone{}, n.local, n.inbox, n.log)
	n.local.fail = n.runner.fail
	if c.PacketConn != nil {
		if n.network, err = n.connect(n.shown, n.reached); err != nil {
			return err
		}
		n.runner.mail = n.network
	}
	return nil
}

func (n *Node) versionOf(name shard.Node) uint64 {
	if name == n.cfg.Name || n.network == nil {
		return shardVersion
	}
	return n.network.peers.Version(name)
}

func (n *Node) regionOf(name shard.Node) relay.Region {
	for i := range n.cfg.Nodes {
		if n.cfg.Nodes[i].Name == name {
			return n.cfg.Nodes[i].Region
		}
	}
	return ""
}

func (n *Node) wayTo(name shard.Node) relay.Upstream {
	if n.network != nil {
		if w := n.network.ways.to(name); w != nil {
			return w
		}
	}
	return nil
}

// Close closes a node that was never run.
func (n *Node) Close() error {
	if n.started.Swap(true) {
		return nil
	}
	return n.store.Close()
}

// failWithin is the longest that a node whose disk failed takes to stop: what hangs in the disk
// need never return, and a node that beats but does nothing is worse than one that is gone.
const failWithin = 3 * time.Second

// Run serves until ctx ends, or until something fails that a node cannot live with. It returns
// when everything has stopped; but after a failure of the disk at most failWithin later, with
// what hangs left behind: the process has to end then.
func (n *Node) Run(ctx context.Context) error {
	if n.started.Swap(true) {
		return errors.New("core: Run was called twice")
	}
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-n.store.Failed():
	}
	err := n.store.Err()
	if errors.Is(err, store.ErrClosed) { // by run, in good order
		return <-ended
	}
	late := time.NewTimer(failWithin)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		n.log.Error("the node does not stop: the disk holds it up; ending without", "waited", failWithin)
		return err
	}
}

func (n *Node) run(ctx context.Context) error {
	own, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	if !n.notes.begun() {
		group.Go(func() {
			if err := n.begin(own); err != nil && own.Err() == nil {
				n.runner.fail(err)
			}
		})
	}
	err := stack.Run(ctx, n.drain, n.parts()...)
	stop()
	group.Wait()
	n.frozen.close()
	return errors.Join(err, n.store.Close())
}

func (n *Node) parts() []stack.Part {
	list := []stack.Part{
		{Name: "store", Run: n.store.Run},
		{Name: "shards", Run: func(ctx context.Context) error { return n.runner.run(ctx, max(2, runtime.GOMAXPROCS(0))) }},
		{Name: "fan-out to nodes", Run: n.shown.Run},
		{Name: "fan-out to edges", Run: n.reached.Run},
	}
	list = append(list, stack.Part{Name: "replacements", Run: n.replacing.run}, stack.Part{Name: "balance", Run: n.balance})
	if n.cfg.Ops != nil {
		list = append(list, stack.Part{Name: "ops", Run: n.serveOps})
	}
	if w := n.network; w != nil {
		list = slices.Insert(list, 1, stack.Part{Name: "peers", Run: w.run})
		list = slices.Insert(list, 3, stack.Part{Name: "links", Run: w.ways.run}, stack.Part{Name: "cut-off", Run: w.watchStranded})
		list = append(list, stack.Part{Name: "server", Run: w.server.Run})
	}
	return list
}

// Store returns the id of the node's disk.
func (n *Node) Store() shard.StoreID { return n.store.Identity().Store }

// Reload puts other policies in force, and adds namespaces; their classes and homes stay as they
// are. After an error nothing has changed.
func (n *Node) Reload(namespaces map[relay.Namespace]Namespace) error {
	c := n.cfg
	c.Namespaces = namespaces
	c, err := c.filled()
	if err != nil {
		return err
	}
	plan, err := newPlan(c.Nodes, n.local.plan.Load().groups, c.Namespaces)
	if err != nil {
		return err
	}
	if err := n.notes.put(c.Namespaces); err != nil {
		return err
	}
	n.local.plan.Store(plan)
	n.inbox.ask(func(*shard.Host) {
		n.local.each(func(r *replica) {
			if r.leads() {
				n.runner.tend(r)
			}
		})
	}, nil)
	return nil
}

// Router returns what edges are shown, without the hub: for one that has its own in this process.
func (n *Node) Router() relay.Upstream { return n.router }

// Upstream returns what an edge is shown: every channel that can be reached from here.
func (n *Node) Upstream() relay.Upstream { return n.reached }

// Local returns the node's own replicas as an Upstream.
func (n *Node) Local() *Local { return n.local }

// readOnly refuses publishes, or takes them again: the store says how much room it has.
func (n *Node) readOnly(on bool) {
	if n.local != nil && n.local.readOnly.Swap(on) != on {
		n.log.Warn("disk space", "read_only", on)
	}
}
