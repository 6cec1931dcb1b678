package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"testing"
	"time"
)

// TestRing follows a development relay for 200 days: at any time its certificate is valid for an
// hour in both directions at least, short enough for browsers, and was announced as next.
func TestRing(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r, err := newRing(start)
	if err != nil {
		t.Fatal(err)
	}
	renewals := 0
	for at := start; at.Before(start.Add(200 * 24 * time.Hour)); at = at.Add(time.Hour) {
		if !at.Before(r.renewAt()) {
			announced := r.next.hash
			if err := r.advance(at); err != nil {
				t.Fatal(err)
			}
			if r.now.hash != announced {
				t.Fatalf("at %v the new certificate is not the one announced", at)
			}
			renewals++
		}
		leaf := r.now.tls.Leaf
		if at.Add(-backdate).Before(leaf.NotBefore) || at.Add(backdate).After(leaf.NotAfter) {
			t.Fatalf("at %v the certificate is for %v to %v", at, leaf.NotBefore, leaf.NotAfter)
		}
	}
	if renewals < 200/13 {
		t.Errorf("%d renewals in 200 days", renewals)
	}
}

// TestRingAfterSleep: a laptop that slept for a month gets valid certificates at once.
func TestRingAfterSleep(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r, err := newRing(start)
	if err != nil {
		t.Fatal(err)
	}
	later := start.Add(30 * 24 * time.Hour)
	if err := r.advance(later); err != nil {
		t.Fatal(err)
	}
	if later.Before(r.now.begins) || later.After(r.renewAt()) {
		t.Errorf("after a month the certificate is for %v to %v", r.now.begins, r.now.ends)
	}
}

func TestMint(t *testing.T) {
	m, err := mint(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf := m.tls.Leaf
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got != 13*24*time.Hour {
		t.Errorf("valid for %v, want 13 days", got)
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T, want ECDSA on P-256", leaf.PublicKey)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if sha256.Sum256(leaf.Raw) != m.hash {
		t.Error("the hash is not the certificate's")
	}
}
