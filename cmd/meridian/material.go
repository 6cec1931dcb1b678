package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/internal/fleet"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/relay"
)

// material is what an edge's files hold: certificates, keys, whose tokens are accepted.
type material struct {
	tokens *token.Verifier
	client pair // shown to clients
	nodes  pair // shown to nodes
	peers  pair // shown to other edges
}

// A pair is a certificate and its key; reload replaces it.
type pair struct {
	now atomic.Pointer[tls.Certificate]
}

func (p *pair) load(cert, key string) error {
	c, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", cert, key, err)
	}
	p.now.Store(&c)
	return nil
}

// newMaterial reads the files that c names.
func newMaterial(c *config.Edge, log *slog.Logger) (*material, error) {
	m := &material{}
	if err := m.reload(c); err != nil {
		return nil, err
	}
	verify := token.Config{Log: log}
	for _, i := range c.Tokens.Issuers {
		issuer := token.Issuer{Name: i.Issuer, Audience: c.Tokens.Audience}
		if strings.Contains(i.JWKS, "://") {
			issuer.JWKSURL = i.JWKS
		} else {
			issuer.JWKSFile = i.JWKS
		}
		verify.Issuers = append(verify.Issuers, issuer)
	}
	var err error
	m.tokens, err = token.New(verify)
	return m, err
}

// reload reads certificates anew.
func (m *material) reload(c *config.Edge) error {
	err := m.client.load(c.TLS.Cert, c.TLS.Key)
	if c.Upstream.Kind == "nodes" {
		err = errors.Join(err, m.nodes.load(c.Upstream.TLS.Cert, c.Upstream.TLS.Key))
	}
	if c.Peers.Listen != "" {
		err = errors.Join(err, m.peers.load(c.Peers.TLS.Cert, c.Peers.TLS.Key))
	}
	return err
}

func (m *material) certificates() []tls.Certificate {
	return []tls.Certificate{*m.client.now.Load()}
}

// assemble makes an edge of material, settings and listeners.
func (m *material) assemble(c *config.Edge, listeners *fleet.Listeners, log *slog.Logger) (_ *fleet.EdgeProcess, peers net.PacketConn, err error) {
	if c.Name == "" {
		if c.Name, err = hostName(); err != nil {
			return nil, nil, err
		}
	}
	e := fleet.EdgeConfig{
		Name: c.Name, Region: relay.Region(c.Region), Listeners: listeners,
		Certificates: m.certificates(), Tokens: m.tokens, Origins: c.Origins, Alternatives: c.Alternatives,
		Limits: edgeLimits(c.Limits), Hub: hubConfig(c.Hub), Grace: c.Grace, Log: log,
	}
	if e.TokenKey, e.ResetKey, err = quicKeys(c.QUICKeys); err != nil {
		return nil, nil, err
	}
	if c.Upstream.Kind == "nodes" {
		roots, err := pool(c.Upstream.TLS.CA)
		if err != nil {
			return nil, nil, err
		}
		e.Nodes = &fleet.NodesConfig{
			Addresses: c.Upstream.Nodes, Links: c.Upstream.Links, Agent: "meridian edge " + c.Name,
			TLS: &tls.Config{
				RootCAs: roots, MinVersion: tls.VersionTLS13,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.nodes.now.Load(), nil },
			},
		}
	} else if e.Namespaces, err = policies(c.Namespaces); err != nil {
		return nil, nil, err
	}
	if c.Peers.Listen != "" {
		authority, err := pool(c.Peers.TLS.CA)
		if err != nil {
			return nil, nil, err
		}
		if peers, err = net.ListenPacket("udp", c.Peers.Listen); err != nil {
			return nil, nil, fmt.Errorf("peers.listen: %w", err)
		}
		e.Peers = &fleet.PeersConfig{
			PacketConn: peers, Name: c.Name, Region: e.Region,
			TLS: &tls.Config{
				ClientCAs: authority, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.peers.now.Load(), nil },
			},
		}
	}
	process, err := fleet.NewEdgeProcess(e)
	if err != nil && peers != nil {
		peers.Close()
	}
	return process, peers, err
}

func pool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return p, nil
}

// quicKeys reads the two keys of a file, 64 bytes in hexadecimal, and makes them where there is
// no file. Without a path they are nil.
func quicKeys(path string) (tokenKey, resetKey *[32]byte, err error) {
	if path == "" {
		return nil, nil, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := make([]byte, 64)
		_, _ = rand.Read(fresh) // never fails
		raw = []byte(hex.EncodeToString(fresh) + "\n")
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("quic_keys: %w", err)
	}
	keys, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(keys) != 64 {
		return nil, nil, fmt.Errorf("quic_keys: %s does not hold 64 bytes in hexadecimal; remove it to have new ones made", path)
	}
	return (*[32]byte)(keys[:32]), (*[32]byte)(keys[32:]), nil
}
