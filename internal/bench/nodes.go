package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/bench/meter"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// fleetName is that of the nodes under test.
const fleetName = "bench"

// nodesSetup says which nodes a child runs.
type nodesSetup struct {
	Dir    string        // of all of them; what is there is gone on with
	Nodes  int           // 0: 1
	Shards int           // 0: the node's own number
	Age    time.Duration // of messages; 0: no bound
	Linked bool          // with a listener, also a single one
	Cache  int64         // bytes; 0: the node's own number
}

// nodesServer is the child that runs nodes, and has them driven. It also drives nodes that others
// run, through sessions.
type nodesServer struct {
	setup nodesSetup
	nodes []*core.Node
	parts meridianServer // what runs, and how it ended
	ready ready
	ways  map[string]*link.Links
	held  []relay.Subscription
	profiler
}

func (s *nodesServer) handle(ctx context.Context, r request) (a answer, err error) {
	s.parts.mu.Lock()
	err = s.parts.err
	s.parts.mu.Unlock()
	if err != nil {
		return a, err
	}
	switch r.Do {
	case "nodes":
		err = s.open(ctx, *r.Nodes)
		a.Ready = &s.ready
	case "drive":
		up, err := s.upstream(r.Via)
		if err != nil {
			return a, err
		}
		d, err := r.Drive.run(ctx, up)
		a.Drove = &d
		return a, err
	case "read":
		up, err := s.upstream(r.Via)
		if err != nil {
			return a, err
		}
		if r.Read.Hold {
			up = s.nodes[0].Local() // what it costs where it is kept, beside the ring of a hub
		}
		d, err := r.Read.run(ctx, up, &s.held)
		a.Read = &d
		return a, err
	case "disk":
		a.Disk, err = s.disk()
	case "usage":
		u, err := meter.Take(nil, r.Collect)
		a.Usage = &u
		return a, err
	case "profile":
		return a, s.profile(r.File)
	default:
		return a, errUnknown
	}
	return a, err
}

// upstream is the first node, or a session to another process's.
func (s *nodesServer) upstream(via *ready) (relay.Upstream, error) {
	if via != nil {
		return s.way(*via)
	}
	if len(s.nodes) == 0 {
		return nil, errors.New("no node runs here")
	}
	return s.nodes[0].Upstream(), nil
}

// open starts the nodes, and waits until every shard takes a publish.
func (s *nodesServer) open(ctx context.Context, setup nodesSetup) error {
	setup.Nodes = max(setup.Nodes, 1)
	s.setup = setup
	ca, err := pki.NewAuthority(fleetName, time.Now())
	if err != nil {
		return err
	}
	var members []core.Member
	var conns []net.PacketConn
	for i := range setup.Nodes {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		members = append(members, core.Member{
			Name: shard.Node(fmt.Sprintf("n%d", i+1)), Address: conn.LocalAddr().String(),
			Region: "here", Zone: fmt.Sprint(i),
		})
	}
	for i, m := range members {
		c := core.NodeConfig{
			Name: m.Name, Fleet: fleetName, Dir: filepath.Join(setup.Dir, string(m.Name)), Nodes: members,
			Namespaces: map[relay.Namespace]core.Namespace{"bench": {Policy: channel.Policy{Age: setup.Age, Bytes: 1 << 40}}},
			Shards:     setup.Shards, Bootstrap: true, Cache: setup.Cache,
		}
		if setup.Nodes > 1 || setup.Linked {
			leaf, err := ca.Issue(pki.Node, string(m.Name), []string{"127.0.0.1"}, 1, time.Now())
			if err != nil {
				return err
			}
			if c.TLS, err = fleetTLS(ca, leaf); err != nil {
				return err
			}
			c.PacketConn = conns[i]
		} else if err := conns[i].Close(); err != nil {
			return err
		}
		n, err := core.NewNode(c)
		if err != nil {
			return err
		}
		s.nodes = append(s.nodes, n)
		s.parts.run("node "+string(m.Name), n.Run)
	}
	edge, err := ca.Issue(pki.Edge, "bench", nil, 1, time.Now())
	if err != nil {
		return err
	}
	s.ready = ready{Addr: members[0].Address, Cert: edge.Cert, Key: edge.Key}
	if s.ready.CA, _, err = ca.Marshal(); err != nil {
		return err
	}
	return s.serving(ctx)
}

// probes is how many channels are asked whether they take publishes: enough to be in every shard
// of a node of ordinary size.
const probes = 64

// serving waits until publishes are taken everywhere.
func (s *nodesServer) serving(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, probes)
	for i := range probes {
		wg.Go(func() { errs[i] = probe(ctx, s.nodes[0].Upstream(), i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func probe(ctx context.Context, up relay.Upstream, i int) error {
	p := relay.Publication{Channel: relay.Channel(fmt.Sprintf("bench:probe%d", i)), Subject: "bench", Body: publishBody(16, i)}
	for last := error(nil); ; {
		done := make(chan relay.End, 1)
		if err := up.Publish(p, func(_ relay.Position, end relay.End) { done <- end }); err == nil {
			select {
			case end := <-done:
				if end.Code == relay.Done {
					return nil
				}
				last = end.Err()
			case <-ctx.Done():
			}
		} else {
			last = err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%s takes no publish: %w; last: %w", p.Channel, err, last)
		}
	}
}

// fleetTLS is for serving and dialling within the fleet.
func fleetTLS(ca *pki.Authority, leaf *pki.Leaf) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: ca.Pool(), ClientCAs: ca.Pool(),
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// sessions is how many an edge keeps to a node.
const sessions = 2

// way returns links to a node, opened when they are first asked for.
func (s *nodesServer) way(to ready) (*link.Links, error) {
	if l := s.ways[to.Addr]; l != nil {
		return l, nil
	}
	conf, err := edgeTLS(to)
	if err != nil {
		return nil, err
	}
	dialer, err := transport.NewDialer(transport.DialerConfig{TLS: conf, AnyHost: true})
	if err != nil {
		return nil, err
	}
	l := link.NewLinks(link.LinksConfig{Links: sessions, Dial: func(ctx context.Context) (*link.Link, error) {
		session, err := dialer.QUIC(ctx, to.Addr)
		if err != nil {
			return nil, err
		}
		return link.Connect(ctx, link.Config{Session: session, Agent: "bench", Default: link.Options{Window: -1}})
	}})
	s.parts.run("links", l.Run)
	if s.ways == nil {
		s.ways = make(map[string]*link.Links)
	}
	s.ways[to.Addr] = l
	return l, probe(context.Background(), l, 0)
}

func edgeTLS(to ready) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(to.Cert, to.Key)
	if err != nil {
		return nil, err
	}
	pool, err := poolOf(to.CA)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS13}, err
}

func (s *nodesServer) close() {
	for _, sub := range s.held {
		sub.Close()
	}
	s.parts.close()
}
