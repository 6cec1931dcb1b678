package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/relay"
)

// coresID is the fleet that the nodes of a World are.
const coresID = "dev"

// newCores opens n durable nodes in one process, each in a folder of its own under dir. They
// begin with the first call; later ones have to ask for as many. With ops each has a listener for
// operators, at urls.
func newCores(dir string, n int, namespaces map[relay.Namespace]core.Namespace, ops bool, log *slog.Logger) (_ []*core.Node, urls []string, err error) {
	if _, err := os.Stat(filepath.Join(dir, "n1")); err == nil {
		have := 0
		for have < 9 {
			if _, err := os.Stat(filepath.Join(dir, fmt.Sprint("n", have+1))); err != nil {
				break
			}
			have++
		}
		if have != n {
			return nil, nil, fmt.Errorf("data: %s began with %d nodes; ask for as many, or take another folder", dir, have)
		}
	}
	list := make([]core.NodeConfig, n)
	var members []core.Member
	authority, err := pki.NewAuthority(coresID, time.Now())
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			for _, c := range list {
				if c.PacketConn != nil {
					c.PacketConn.Close()
				}
				if c.Ops != nil {
					c.Ops.Close()
				}
			}
		}
	}()
	for i := range list {
		c := &list[i]
		*c = core.NodeConfig{
			Name: shard.Node(fmt.Sprint("n", i+1)), Fleet: coresID, Bootstrap: true,
			Dir: filepath.Join(dir, fmt.Sprint("n", i+1)), Namespaces: namespaces, Shards: 4, Log: log,
			Ballast: -1, // for development nobody waits at a full disk
		}
		address := "127.0.0.1:1" // nobody asks for the address of one that is alone
		if n > 1 {
			if c.PacketConn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
				return nil, nil, err
			}
			address = c.PacketConn.LocalAddr().String()
			if c.TLS, err = coreTLS(authority, string(c.Name)); err != nil {
				return nil, nil, err
			}
			c.Log = log.With("node", string(c.Name))
		}
		if ops {
			if c.Ops, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				return nil, nil, err
			}
			urls = append(urls, "http://"+c.Ops.Addr().String())
		}
		members = append(members, core.Member{Name: c.Name, Address: address, Region: "local", Zone: string(c.Name)})
	}
	var nodes []*core.Node
	for _, c := range list {
		c.Nodes = members
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, nil, errors.Join(err, closeCores(nodes))
		}
		node, err := core.NewNode(c)
		if err != nil {
			return nil, nil, errors.Join(err, closeCores(nodes))
		}
		nodes = append(nodes, node)
	}
	return nodes, urls, nil
}

func closeCores(nodes []*core.Node) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// coreTLS issues a node's certificate.
func coreTLS(a *pki.Authority, name string) (*tls.Config, error) {
	leaf, err := a.Issue(pki.Node, name, []string{"127.0.0.1"}, 0, time.Now())
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool, MinVersion: tls.VersionTLS13}, nil
}

// coreNamespaces are namespaces of nodes, where only policies are given.
func coreNamespaces(policies map[relay.Namespace]channel.Policy) map[relay.Namespace]core.Namespace {
	list := make(map[relay.Namespace]core.Namespace, len(policies))
	for name, p := range policies {
		list[name] = core.Namespace{Policy: p}
	}
	return list
}
