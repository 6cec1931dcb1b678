package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("prod", now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leaf(t *testing.T, l *Leaf) *x509.Certificate {
	t.Helper()
	if _, err := tls.X509KeyPair(l.Cert, l.Key); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(l.Cert)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIssue(t *testing.T) {
	t.Parallel()
	a := authority(t)
	l, err := a.Issue(Node, "n1", []string{"n1.example.com", "*.eu.example.com", "10.0.0.7", "::1"}, 30, now)
	if err != nil {
		t.Fatal(err)
	}
	c := leaf(t, l)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Error(err)
		}
	}
	for _, host := range []string{"n1.example.com", "x.eu.example.com", "10.0.0.7", "::1"} {
		if err := c.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if c.VerifyHostname("n1") == nil {
		t.Error("the name is a host without being asked for")
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://prod/node/n1" || c.IsCA {
		t.Errorf("URIs %v, CA %v", c.URIs, c.IsCA)
	}
	if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T", c.PublicKey)
	}
	if want := now.Add(30 * day); !c.NotAfter.Equal(want) || !l.NotAfter.Equal(want) {
		t.Errorf("until %v, want %v", c.NotAfter, want)
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: authority(t).Pool(), CurrentTime: now}); err == nil {
		t.Error("another authority vouches for it")
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: now.Add(31 * day)}); err == nil {
		t.Error("it is valid after its end")
	}
}

// A certificate does not outlive its authority, and an authority that is over issues none.
func TestAuthorityEnds(t *testing.T) {
	t.Parallel()
	a := authority(t)
	end := now.Add(AuthorityDays * day)
	l, err := a.Issue(Edge, "e1", nil, 0, end.Add(-10*day))
	if err != nil {
		t.Fatal(err)
	}
	if c := leaf(t, l); c.NotAfter.After(end) || c.URIs[0].String() != "spiffe://prod/edge/e1" {
		t.Errorf("%v until %v, the authority until %v", c.URIs, c.NotAfter, end)
	}
	if _, err := a.Issue(Edge, "e1", nil, 0, end.Add(time.Second)); err == nil || !strings.Contains(err.Error(), "make a new one") {
		t.Errorf("an authority that is over: %v", err)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	a := authority(t)
	for want, issue := range map[string]func() error{
		`name ""`:     func() error { _, err := a.Issue(Node, "", nil, 0, now); return err },
		`name "a/b"`:  func() error { _, err := a.Issue(Node, "a/b", nil, 0, now); return err },
		`name ".."`:   func() error { _, err := a.Issue(Node, "..", nil, 0, now); return err },
		`role "king"`: func() error { _, err := a.Issue("king", "a", nil, 0, now); return err },
		`host "a:1"`:  func() error { _, err := a.Issue(Node, "a", []string{"a:1"}, 0, now); return err },
		`host ""`:     func() error { _, err := a.Issue(Node, "a", []string{""}, 0, now); return err },
		`host "a..b"`: func() error { _, err := a.Issue(Node, "a", []string{"a..b"}, 0, now); return err },
		"days -1":     func() error { _, err := a.Issue(Node, "a", nil, -1, now); return err },
		"days 9999":   func() error { _, err := a.Issue(Node, "a", nil, 9999, now); return err },
		`fleet "Big"`: func() error { _, err := NewAuthority("Big", now); return err },
		`fleet ""`:    func() error { _, err := NewAuthority("", now); return err },
	} {
		if err := issue(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "pki init") {
		t.Errorf("no authority: %v", err)
	}
	if _, err := Init(dir, "prod", now); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, AuthorityKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, "prod", now); !errors.Is(err, ErrExists) {
		t.Errorf("an authority in its place: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, AuthorityKeyFile)); err != nil || !slices.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	a, err := Open(dir)
	if err != nil || a.Fleet != "prod" {
		t.Fatalf("%+v, %v", a, err)
	}
	l, err := a.Issue(Node, "n1", nil, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Save(dir, "n1", false); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(dir, "n1", false); !errors.Is(err, ErrExists) {
		t.Errorf("overwritten: %v", err)
	}
	if err := l.Save(dir, "n1", true); err != nil {
		t.Error(err)
	}
	if err := l.Save(dir, "CA", true); err == nil {
		t.Error("the authority's files would be overwritten")
	}
	for name, mode := range map[string]os.FileMode{"ca.key": 0o600, "n1.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "n1.pem"), filepath.Join(dir, "n1.key")); err != nil {
		t.Error(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 4 {
		t.Errorf("%v, %v: want four files", list, err)
	}
}

// An authority that is damaged, another's, or half there, is refused.
func TestBadAuthority(t *testing.T) {
	t.Parallel()
	cert, key, err := authority(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := authority(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := authority(t).Issue(Node, "n1", nil, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	for want, pair := range map[string][2][]byte{
		"no certificate":       {nil, key},
		"no private key":       {cert, nil},
		"not the certificate":  {cert, other},
		"not an authority's":   {l.Cert, l.Key},
		"no private key in":    {cert, cert},
		"no certificate in PE": {key, key},
	} {
		if _, err := ParseAuthority(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
