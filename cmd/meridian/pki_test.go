package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPKI(t *testing.T) {
	s := newShell(t)
	dir := filepath.Join(t.TempDir(), "pki")
	s.fails(1, "meridian pki init", "", "pki", "issue", "node", "n1", "--dir", dir)
	if out := s.ok("", "pki", "init", "--fleet", "prod", "--dir", dir).out; !strings.Contains(out, filepath.Join(dir, "ca.pem")) {
		t.Errorf("init printed %q", out)
	}
	s.fails(3, "ca.key: exists", "", "pki", "init", "--fleet", "prod", "--dir", dir)
	out := s.ok("", "pki", "issue", "node", "n1", "--dir", dir, "--host", "n1.example.com", "--host", "10.0.0.7", "--days", "30").out
	if !strings.Contains(out, "spiffe://prod/node/n1 until ") {
		t.Errorf("issue printed %q", out)
	}
	s.ok("", "pki", "issue", "edge", "e1", "--dir", dir)
	s.fails(3, "n1.key: exists", "", "pki", "issue", "node", "n1", "--dir", dir)
	s.fails(3, "e1.key: exists", "", "pki", "issue", "node", "e1", "--dir", dir)
	s.ok("", "pki", "issue", "node", "n1", "--dir", dir, "--replace")
	s.fails(1, `name "a/b"`, "", "pki", "issue", "node", "a/b", "--dir", dir)
	s.fails(1, `name "ca"`, "", "pki", "issue", "node", "ca", "--dir", dir, "--replace")
	s.fails(1, `host "a:1"`, "", "pki", "issue", "edge", "e2", "--dir", dir, "--host", "a:1")
	s.fails(2, `--fleet "": write`, "", "pki", "init", "--dir", t.TempDir())
	s.fails(2, "--days 0", "", "pki", "issue", "node", "n2", "--dir", dir, "--days", "0")
	s.fails(2, "accepts 1 arg", "", "pki", "issue", "node", "--dir", dir)

	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "e1.pem"), filepath.Join(dir, "e1.key"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("ca.pem has no certificate")
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		t.Error(err)
	}
}
