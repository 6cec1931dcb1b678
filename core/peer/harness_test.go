package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
)

// patience is the longest that one step of a test takes.
const patience = 20 * time.Second

// authorities are made once for each fleet.
var authorities sync.Map

func authorityOf(t testing.TB, fleet string) *pki.Authority {
	t.Helper()
	if a, ok := authorities.Load(fleet); ok {
		return a.(*pki.Authority)
	}
	a, err := pki.NewAuthority(fleet, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := authorities.LoadOrStore(fleet, a)
	return kept.(*pki.Authority)
}

func certificate(t testing.TB, a *pki.Authority, role pki.Role, name string) tls.Certificate {
	t.Helper()
	leaf, err := a.Issue(role, name, nil, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A stage is nodes on loopback.
type stage struct {
	t testing.TB

	mu        sync.Mutex
	addresses map[shard.Node]string
}

func newStage(t testing.TB) *stage {
	return &stage{t: t, addresses: make(map[shard.Node]string)}
}

func (s *stage) address(n shard.Node) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addresses[n]
}

// lead makes others find a node at an address.
func (s *stage) lead(n shard.Node, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses[n] = address
}

// An event is what a node's callbacks were told.
type event struct {
	node  shard.Node
	alive bool
}

// A player is a node under test.
type player struct {
	t       testing.TB
	peers   *Peers
	name    shard.Node
	listen  string
	got     chan shard.Message
	events  chan event
	ended   chan error // of FetchEnded
	stopped func()
}

// A setup is how a node differs.
type setup struct {
	fleet   string   // "": test
	subject string   // of its certificate; "": its name
	role    pki.Role // "": node
	listen  string   // "": a free port
	edit    func(*Config)
}

// quick makes a configuration for tests that wait for time to pass.
func quick(c *Config) {
	c.Beat, c.LostAfter, c.SilentAfter = 20*time.Millisecond, 300*time.Millisecond, 600*time.Millisecond
	c.MinBackoff, c.MaxBackoff = 10*time.Millisecond, 100*time.Millisecond
}

// play runs a node until the test ends.
func (s *stage) play(name shard.Node, o setup) *player {
	s.t.Helper()
	if o.fleet == "" {
		o.fleet = "test"
	}
	if o.subject == "" {
		o.subject = string(name)
	}
	if o.role == "" {
		o.role = pki.Node
	}
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	a := authorityOf(s.t, "test") // one for all fleets: the names tell them apart
	if o.fleet != "test" {
		a = &pki.Authority{}
		*a = *authorityOf(s.t, "test")
		a.Fleet = o.fleet
	}
	cert := certificate(s.t, a, o.role, o.subject)
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.Pool(), ClientCAs: a.Pool()}
	p := &player{
		t: s.t, name: name, got: make(chan shard.Message, 1<<16), events: make(chan event, 1024),
		ended: make(chan error, 64),
	}
	c := Config{
		Node: name, Fleet: o.fleet, Store: storeOf(name), Version: 7, Addresses: s.address, TLS: conf,
		Receive: func(from shard.Node, list []shard.Message) {
			for _, m := range list {
				p.got <- m
			}
		},
		Heard:      func(n shard.Node) { p.events <- event{n, true} },
		Lost:       func(n shard.Node) { p.events <- event{n, false} },
		FetchEnded: func(_ shard.Replica, _ shard.Number, err error) { p.ended <- err },
	}
	if o.edit != nil {
		o.edit(&c)
	}
	var err error
	if p.peers, err = New(c); err != nil {
		s.t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp", o.listen)
	if err != nil {
		s.t.Fatal(err)
	}
	p.listen = socket.LocalAddr().String()
	s.mu.Lock()
	if s.addresses[name] == "" {
		s.addresses[name] = p.listen
	}
	s.mu.Unlock()
	server, err := transport.NewPeerServer(transport.PeerConfig{
		TLS: conf, PacketConn: socket, Window: Window, Log: c.Log,
		Serve: func(context.Context, relay.Session) {},
		Also:  map[string]func(context.Context, relay.Session){ALPN: p.peers.Serve},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.peers.Run(ctx); err != nil {
			s.t.Errorf("%s: peers: %v", name, err)
		}
	})
	wg.Go(func() {
		if err := server.Run(ctx); err != nil {
			s.t.Errorf("%s: server: %v", name, err)
		}
	})
	p.stopped = sync.OnceFunc(func() {
		cancel()
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			s.t.Errorf("%s has not stopped within %v", name, patience)
		}
	})
	s.t.Cleanup(p.stopped)
	return p
}

func storeOf(name shard.Node) (s shard.StoreID) {
	copy(s[:], name)
	return s
}

// next returns the next message that p got.
func (p *player) next() shard.Message { p.t.Helper(); return receive(p.t, p.got, "a message") }

// event waits for Heard or Lost.
func (p *player) event(want event) {
	p.t.Helper()
	if got := receive(p.t, p.events, "Heard or Lost"); got != want {
		p.t.Fatalf("%s was told %+v, want %+v", p.name, got, want)
	}
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come within %v", what, patience)
		panic("unreachable")
	}
}

// until waits until a condition holds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// numbered is a message that carries a number.
func numbered(n uint64, size int) shard.Message {
	typ := raftpb.MsgApp
	return shard.Message{Shard: 3, From: 1, To: 2, Raft: &raftpb.Message{
		Type: &typ, Index: &n, Entries: []*raftpb.Entry{{Index: &n, Data: make([]byte, size)}},
	}}
}

func (p *player) connected(n shard.Node) bool {
	for _, s := range p.peers.Stats().Nodes {
		if s.Node == n {
			return s.Connected
		}
	}
	return false
}
