package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/bench/meter"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// fleetName is that of the nodes under test.
const fleetName = "bench"

// nodeSetup says which node a child runs.
type nodeSetup struct {
	Dir    string        // its folder is within; what is there is gone on with
	Shards int           // 0: the node's own number
	Age    time.Duration // of messages; 0: no bound
	Forget time.Duration // of channels without messages; 0: the node's own number
	Cache  int64         // bytes; 0: the node's own number
	// Members are all nodes, and Self is the place of this one among them. None: it is alone,
	// and nobody can reach it.
	Members []core.Member
	Self    int
	// CA, Cert and Key are the fleet's authority and the node's certificate, in PEM.
	CA, Cert, Key []byte
}

// nodeServer is the child that runs a node, and has it driven. It also drives a node that another
// one runs, through sessions.
type nodeServer struct {
	conn  net.PacketConn // bound before the others' addresses are known
	dir   string         // of the node
	node  *core.Node     // nil: none runs here
	parts meridianServer // what runs, and how it ended
	ways  map[string]*link.Links
	held  []relay.Subscription
	profiler
}

func (s *nodeServer) handle(ctx context.Context, r request) (a answer, err error) {
	s.parts.mu.Lock()
	err = s.parts.err
	s.parts.mu.Unlock()
	if err != nil {
		return a, err
	}
	switch r.Do {
	case "bind":
		a.Ready, err = s.bind()
	case "node":
		err = s.open(ctx, *r.Node)
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
			up = s.node.Local() // what it costs where it is kept, beside the ring of a hub
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

// upstream is the node that runs here, or a session to another process's.
func (s *nodeServer) upstream(via *ready) (relay.Upstream, error) {
	if via != nil {
		return s.way(*via)
	}
	if s.node == nil {
		return nil, errors.New("no node runs here")
	}
	return s.node.Upstream(), nil
}

// bind takes a free port for the node that is to run here.
func (s *nodeServer) bind() (*ready, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return &ready{Addr: conn.LocalAddr().String()}, nil
}

// open starts the node, and waits until every shard takes a publish.
func (s *nodeServer) open(ctx context.Context, setup nodeSetup) error {
	members := setup.Members
	if len(members) == 0 {
		members = []core.Member{memberAt(0, "127.0.0.1:1")}
	}
	c := core.NodeConfig{
		Name: members[setup.Self].Name, Fleet: fleetName, Nodes: members,
		Namespaces: map[relay.Namespace]core.Namespace{"bench": {Policy: channel.Policy{Age: setup.Age, Bytes: 1 << 40, ForgetAfter: setup.Forget}}},
		Shards:     setup.Shards, Bootstrap: true, Cache: setup.Cache, Slack: core.DefaultSlack,
		SteadyFor: time.Second, // who begins together is soon led as it is to be
	}
	c.Dir = filepath.Join(setup.Dir, string(c.Name))
	if len(setup.Cert) > 0 {
		if s.conn == nil {
			return errors.New("node before bind")
		}
		conf, err := fleetTLS(setup.CA, setup.Cert, setup.Key)
		if err != nil {
			return err
		}
		c.TLS, c.PacketConn, s.conn = conf, s.conn, nil // the node closes it
	}
	n, err := core.NewNode(c)
	if err != nil {
		return err
	}
	s.node, s.dir = n, c.Dir
	s.parts.run("node "+string(c.Name), n.Run)
	if err := s.serving(ctx); err != nil || len(members) == 1 {
		return err
	}
	return s.settled(ctx)
}

// settledFor is for how long no leader changes before the leaders count as settled: longer than
// SteadyFor, and the second between two looks at who is to lead.
const settledFor = 4 * time.Second

// settled waits until the first shards are led where they are to be.
func (s *nodeServer) settled(ctx context.Context) error {
	var leaders string
	for since := time.Now(); time.Since(since) < settledFor; {
		list, err := s.node.Shards(0, probes)
		if err != nil {
			return err
		}
		var now strings.Builder
		for i := range list {
			fmt.Fprintln(&now, list[i].Leader, list[i].Term)
		}
		if now.String() != leaders {
			leaders, since = now.String(), time.Now()
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// probes is how many channels are asked whether they take publishes: enough to be in every shard
// of a node of ordinary size.
const probes = 64

// serving waits until publishes are taken everywhere.
func (s *nodeServer) serving(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, probes)
	for i := range probes {
		wg.Go(func() { errs[i] = probe(ctx, s.node.Upstream(), i) })
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

// fleetTLS is for serving and dialling within the fleet, from PEM.
func fleetTLS(ca, cert, key []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	pool, err := poolOf(ca)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, err
}

// sessions is how many an edge keeps to a node.
const sessions = 2

// way returns links to a node, opened when they are first asked for.
func (s *nodeServer) way(to ready) (*link.Links, error) {
	if l := s.ways[to.Addr]; l != nil {
		return l, nil
	}
	conf, err := fleetTLS(to.CA, to.Cert, to.Key)
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

func (s *nodeServer) close() {
	for _, sub := range s.held {
		sub.Close()
	}
	s.parts.close()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}
