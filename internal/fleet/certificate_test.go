package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRing follows a development relay for 60 days: at any time its certificate is valid for an
// hour in both directions at least, and was announced as next before it came to use.
func TestRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := newRing(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		announced := r.hashes()[1]
		var used atomic.Pointer[tls.Certificate]
		first := r.inUse()
		used.Store(&first)
		renewals := 0
		go r.keepFresh(ctx, slog.New(slog.DiscardHandler), func(c tls.Certificate) error {
			if sha256.Sum256(c.Leaf.Raw) != announced {
				t.Errorf("at %v the new certificate is not the one announced", time.Now())
			}
			used.Store(&c)
			return nil
		}, func() {
			announced = r.hashes()[1]
			renewals++
		})
		time.Sleep(lookEvery / 2) // between two looks
		for range 60 * 24 * 2 {
			time.Sleep(time.Hour / 2)
			synctest.Wait()
			leaf := used.Load().Leaf
			if now := time.Now(); now.Add(-backdate).Before(leaf.NotBefore) || now.Add(backdate).After(leaf.NotAfter) {
				t.Fatalf("at %v the certificate is for %v to %v", now, leaf.NotBefore, leaf.NotAfter)
			}
		}
		cancel()
		synctest.Wait()
		if renewals < 60/13 || renewals > 6 {
			t.Errorf("%d renewals in 60 days", renewals)
		}
	})
}

// TestRingAfterSleep: a laptop that slept for a month gets valid certificates at once.
func TestRingAfterSleep(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r, err := newRing(start)
	if err != nil {
		t.Fatal(err)
	}
	later := start.Add(30 * 24 * time.Hour)
	if due, err := r.advance(later); !due || err != nil {
		t.Fatal(due, err)
	}
	if later.Before(r.now.begins) || later.After(r.now.renewAt()) {
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
