package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/internal/pki"
)

// identity reads a node's certificate and the fleet's authority, and refuses what other nodes
// would refuse: a name that is not the node's, and a certificate of somebody else.
func identity(c *config.Core) (*tls.Certificate, *x509.CertPool, error) {
	authority, err := pool(c.TLS.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("tls.ca: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s with key %s: %w", c.TLS.Cert, c.TLS.Key, err)
	}
	var names []string
	for _, u := range cert.Leaf.URIs {
		names = append(names, u.String())
	}
	names = append(names, cert.Leaf.DNSNames...)
	if !pki.IsNode(names, c.Fleet, c.Name) {
		return nil, nil, fmt.Errorf("certificate %s names %q, not %q: take the one of this node, or issue one",
			c.TLS.Cert, names, pki.Name{Fleet: c.Fleet, Role: pki.Node, Name: c.Name})
	}
	between := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		if more, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(more)
		}
	}
	_, err = cert.Leaf.Verify(x509.VerifyOptions{
		Roots: authority, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s by the authority of %s: %w; renew it, or name the authority that issued it",
			c.TLS.Cert, c.TLS.CA, err)
	}
	return &cert, authority, nil
}

// listen opens the node's sockets. A folder that is in use is told before an address that is: with
// the same configuration twice both are, and only the folder says by whom.
func listen(c *config.Core, cfg *core.NodeConfig) error {
	err := error(nil)
	if cfg.PacketConn, err = net.ListenPacket("udp", c.Listen); err != nil {
		return errors.Join(inUse(*cfg), fmt.Errorf("listen: %w", err))
	}
	if c.Ops == "" {
		return nil
	}
	if cfg.Ops, err = net.Listen("tcp", c.Ops); err != nil {
		cfg.PacketConn.Close()
		cfg.PacketConn = nil
		return errors.Join(inUse(*cfg), fmt.Errorf("ops: %w", err))
	}
	return nil
}

// inUse returns store.ErrInUse if another process has the folder.
func inUse(cfg core.NodeConfig) error {
	cfg.Bootstrap, cfg.Join = false, false // an empty folder stays empty
	node, err := core.NewNode(cfg)
	if err == nil {
		return node.Close()
	}
	if errors.Is(err, store.ErrInUse) {
		return err
	}
	return nil
}
