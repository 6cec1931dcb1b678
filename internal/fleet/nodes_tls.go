package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/meridian-relay/meridian/internal/pki"
)

// toNode returns conf for the way to a node at host. A node is who has a certificate of the
// fleet's authority that names it as a node of this process's own fleet: nodes change their
// addresses more often than their names. Without such a name, the certificate names the host.
func toNode(conf *tls.Config, host string) *tls.Config {
	if conf = conf.Clone(); conf == nil {
		conf = &tls.Config{}
	}
	conf.InsecureSkipVerify = true // VerifyConnection verifies
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the node has no certificate")
		}
		leaf := state.PeerCertificates[0]
		options := x509.VerifyOptions{Roots: conf.RootCAs, Intermediates: x509.NewCertPool()}
		if conf.Time != nil {
			options.CurrentTime = conf.Time()
		}
		for _, c := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		if _, err := leaf.Verify(options); err != nil {
			return err
		}
		if name, ok := nameIn(leaf); ok && name.Role == pki.Node {
			if fleet := fleetOf(conf); fleet != "" && name.Fleet != fleet {
				return fmt.Errorf("it is node %q of fleet %q, and this process is of fleet %q", name.Name, name.Fleet, fleet)
			}
			return nil
		}
		return leaf.VerifyHostname(host)
	}
	return conf
}

// nameIn returns the process that a certificate names.
func nameIn(leaf *x509.Certificate) (pki.Name, bool) {
	for _, u := range leaf.URIs {
		if name, ok := pki.Parse(u.String()); ok {
			return name, true
		}
	}
	return pki.Name{}, false
}

// fleetOf returns the fleet that conf's own certificate names; empty: none.
func fleetOf(conf *tls.Config) string {
	if conf.GetClientCertificate != nil {
		if c, err := conf.GetClientCertificate(&tls.CertificateRequestInfo{}); err == nil && c != nil {
			return fleetIn(c)
		}
	}
	for i := range conf.Certificates {
		if fleet := fleetIn(&conf.Certificates[i]); fleet != "" {
			return fleet
		}
	}
	return ""
}

func fleetIn(c *tls.Certificate) string {
	leaf := c.Leaf
	if leaf == nil && len(c.Certificate) > 0 {
		leaf, _ = x509.ParseCertificate(c.Certificate[0])
	}
	if leaf == nil {
		return ""
	}
	name, _ := nameIn(leaf)
	return name.Fleet
}
