package core

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// authority signs certificates of fleet test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

// conf returns what a process with a name needs.
func (a *authority) conf(t *testing.T, name string) *tls.Config {
	t.Helper()
	uri, err := url.Parse("spiffe://test/" + name)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), URIs: []*url.URL{uri}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: a.pool, ClientCAs: a.pool, MinVersion: tls.VersionTLS13,
	}
}

// trio prepares three nodes in one region.
func trio(t *testing.T) []NodeConfig {
	t.Helper()
	return trioOf(t, newAuthority(t))
}

func trioOf(t *testing.T, a *authority) []NodeConfig {
	t.Helper()
	var list []NodeConfig
	var members []Member
	for i := range 3 {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := single(t)
		c.Name = shard.Node(fmt.Sprintf("n%d", i+1))
		c.PacketConn, c.TLS = conn, a.conf(t, "node/"+string(c.Name))
		c.Log = c.Log.With("node", c.Name)
		list = append(list, c)
		members = append(members, Member{c.Name, conn.LocalAddr().String(), "here", fmt.Sprint("z", i)})
	}
	for i := range list {
		list[i].Nodes = members
		list[i].Namespaces = map[relay.Namespace]Namespace{
			relaytest.Plain: {}, relaytest.Short: {Policy: channel.Policy{Count: 10}},
			"fleeting": {Class: shard.Ephemeral},
		}
	}
	return list
}

// listen opens a socket at an address that was in use.
func listen(t *testing.T, address string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func startAll(t *testing.T, list []NodeConfig) (nodes []*Node, stops []func()) {
	t.Helper()
	for _, c := range list {
		n, stop := start(t, c)
		nodes, stops = append(nodes, n), append(stops, stop)
	}
	for _, n := range nodes {
		await(t, n)
	}
	return nodes, stops
}

// awaitWays waits until n can reach the others.
func awaitWays(t *testing.T, n *Node) {
	t.Helper()
	late := time.Now().Add(20 * time.Second)
	for i := 0; i < 32; {
		p := relay.Publication{Channel: relay.Channel(fmt.Sprintf("%s:probe-%d", relaytest.Plain, i)), Body: relaytest.Body("x", "")}
		err := n.Upstream().Publish(p, func(relay.Position, relay.End) {})
		switch {
		case err == nil:
			i++
		case time.Now().After(late):
			t.Fatal(err)
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// barriers asks for a barrier with every subscription, as the suite means it: the replica that is
// read may be behind the one that answered a publish.
type barriers struct{ relay.Upstream }

func (b barriers) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	r.Barrier = true
	return b.Upstream.Subscribe(r, wake)
}

// sendHome has every shard led where it is to be led, so that no leadership is handed over in the
// midst of a test that takes a refusal for a failure: nodes send leaders home after ten seconds.
func sendHome(t *testing.T, nodes []*Node) {
	t.Helper()
	late := time.Now().Add(30 * time.Second)
	for _, s := range nodes[0].local.plan.Load().shards {
		for led := false; !led; {
			for _, n := range nodes {
				if r := n.local.replica(s.id); !r.leads() {
					continue
				}
				if led = n.cfg.Name == s.voters[0]; !led {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					if err := n.Transfer(ctx, s.id, s.voters[0]); err != nil {
						t.Log(err)
					}
					cancel()
				}
			}
			if time.Now().After(late) {
				t.Fatalf("%v is not led by %s", s.id, s.voters[0])
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// TestFleetSeam: what one of three nodes shows edges is an Upstream like any other, wherever the
// leaders are. Its tests run beside each other: most of them wait for one answer after the other.
func TestFleetSeam(t *testing.T) {
	nodes, _ := startAll(t, trio(t))
	awaitWays(t, nodes[1])
	sendHome(t, nodes)
	relaytest.TestUpstream(t, func(t *testing.T) relay.Upstream {
		t.Parallel()
		return barriers{nodes[1].Upstream()}
	})
}
