package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/pki"
)

// An edge takes a node of its fleet at any address, and another only under the host it names.
func TestToNode(t *testing.T) {
	issue := func(fleet string) func(pki.Role, string, ...string) tls.Certificate {
		dir := t.TempDir()
		a, err := pki.Init(dir, fleet, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return func(role pki.Role, name string, hosts ...string) tls.Certificate {
			l, err := a.Issue(role, name, hosts, 1, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Save(dir, name, false); err != nil {
				t.Fatal(err)
			}
			c, err := tls.LoadX509KeyPair(dir+"/"+name+".pem", dir+"/"+name+".key")
			if err != nil {
				t.Fatal(err)
			}
			c.Certificate = append(c.Certificate[:1:1], a.Cert.Raw)
			return c
		}
	}
	ours, others := issue("prod"), issue("stage")
	roots := x509.NewCertPool()
	for _, c := range []tls.Certificate{ours(pki.Edge, "r1"), others(pki.Edge, "r2")} {
		root, err := x509.ParseCertificate(c.Certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		roots.AddCert(root)
	}
	conf := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{ours(pki.Edge, "e1")}}
	for name, c := range map[string]struct {
		host string
		cert tls.Certificate
		want string // of the error; empty: none
	}{
		"a node":                        {"10.0.0.7", ours(pki.Node, "n1"), ""},
		"a node under its host":         {"n2.example.com", ours(pki.Node, "n2", "n2.example.com"), ""},
		"another fleet's":               {"10.0.0.7", others(pki.Node, "n1"), `of fleet "stage"`},
		"an edge":                       {"10.0.0.7", ours(pki.Edge, "e2"), "10.0.0.7"},
		"an edge under its host":        {"10.0.0.7", ours(pki.Edge, "e3", "10.0.0.7"), ""},
		"of an authority without trust": {"10.0.0.7", issue("prod")(pki.Node, "n1"), "unknown authority"},
	} {
		leaf, rest, err := parse(c.cert)
		if err != nil {
			t.Fatal(err)
		}
		err = toNode(conf, c.host).VerifyConnection(tls.ConnectionState{PeerCertificates: append([]*x509.Certificate{leaf}, rest...)})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if err := toNode(conf, "x").VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("no certificate: no error")
	}
}

func parse(c tls.Certificate) (leaf *x509.Certificate, rest []*x509.Certificate, err error) {
	list := make([]*x509.Certificate, len(c.Certificate))
	for i, der := range c.Certificate {
		if list[i], err = x509.ParseCertificate(der); err != nil {
			return nil, nil, err
		}
	}
	return list[0], list[1:], nil
}
