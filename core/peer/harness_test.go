package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/internal/wan"
	"github.com/meridian-relay/meridian/relay"
)

// patience is the longest that one step of a test takes. Only what hangs takes as long: in virtual
// time it costs nothing, on loopback it is far beyond what a machine under load needs.
const patience = 2 * time.Minute

// A stage is nodes, on loopback, or at places of a simulated network.
type stage struct {
	t         testing.TB
	authority *pki.Authority // one for all fleets: the names tell them apart
	network   *wan.Network   // nil: loopback

	mu        sync.Mutex
	addresses map[shard.Node]string
	players   []*player
	hostile   []*transport.Dialer
}

func newStage(t testing.TB) *stage {
	t.Helper()
	a, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, authority: a, addresses: make(map[shard.Node]string)}
}

// simulate runs a test in virtual time, with nodes on a simulated network.
func simulate(t *testing.T, f func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.network = wan.New(wan.NetworkConfig{Seed: 1})
		defer func() { // the network last, also of a test that has failed: who uses it would tell of that
			for _, d := range s.hostile {
				_ = d.Close()
			}
			for _, p := range s.players {
				p.stopped()
			}
			s.network.Close()
		}()
		f(t, s)
	})
}

// sockets returns two for a node: to serve, and to dial.
func (s *stage) sockets(name shard.Node) (serve, dial net.PacketConn) {
	s.t.Helper()
	if s.network == nil {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		return socket, nil
	}
	serve, err := s.network.Place(string(name)).ListenPacket(443, "")
	if err != nil {
		s.t.Fatal(err)
	}
	dial, err = s.network.Place(string(name)).ListenPacket(0, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return serve, dial
}

func (s *stage) address(n shard.Node) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addresses[n]
}

// tls is what a process of the fleet trusts and shows.
func (s *stage) tls(fleet string, role pki.Role, name string) *tls.Config {
	s.t.Helper()
	a := *s.authority
	a.Fleet = fleet
	leaf, err := a.Issue(role, name, nil, 1, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, RootCAs: a.Pool(), ClientCAs: a.Pool()}
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
	conf := s.tls(o.fleet, o.role, o.subject)
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
	socket, dial := s.sockets(name)
	c.PacketConn = dial
	if o.edit != nil {
		o.edit(&c)
	}
	var err error
	if p.peers, err = New(c); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.addresses[name] = socket.LocalAddr().String()
	s.players = append(s.players, p)
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
