package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"time"
)

// Times of development certificates. Browsers take one by its hash only if it is valid for at
// most 14 days (WebTransport, W3C, "custom certificate requirements").
const (
	certificateLife = 13 * 24 * time.Hour
	renewBefore     = 24 * time.Hour // so long before its end a certificate is replaced
	backdate        = time.Hour      // for clients whose clock is behind
)

// A ring holds the certificate in use and the one that follows it, so that clients can be told
// of both: who knows both hashes outlives one renewal.
type ring struct {
	mu        sync.Mutex
	now, next minted
}

// minted is a self-signed certificate.
type minted struct {
	tls    tls.Certificate
	hash   [32]byte // SHA-256 of the certificate
	begins time.Time
	ends   time.Time
}

// newRing mints two certificates.
func newRing(at time.Time) (*ring, error) {
	now, err := mint(at)
	if err != nil {
		return nil, err
	}
	next, err := mint(now.renewAt())
	return &ring{now: now, next: next}, err
}

// renewAt is when a certificate is replaced.
func (m minted) renewAt() time.Time { return m.ends.Add(-renewBefore) }

func (r *ring) inUse() tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.tls
}

// hashes returns those of the certificate in use and of the next.
func (r *ring) hashes() [2][32]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return [2][32]byte{r.now.hash, r.next.hash}
}

// lookEvery is how often keepFresh looks at the clock: a timer for days would stand still while a
// laptop sleeps.
const lookEvery = time.Minute

// keepFresh renews the certificate until ctx ends. use puts one to use; renewed is called
// afterwards, unless it is nil.
func (r *ring) keepFresh(ctx context.Context, log *slog.Logger, use func(tls.Certificate) error, renewed func()) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		due, err := r.advance(time.Now())
		if due && err == nil {
			err = use(r.inUse())
		}
		switch {
		case err != nil:
			log.Error("certificate not renewed", "error", err)
		case due && renewed != nil:
			renewed()
		}
	}
}

// advance puts the next certificate to use, if it is time, and mints the one that follows it. A
// machine that slept past the end of both gets two new ones.
func (r *ring) advance(at time.Time) (due bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case at.Before(r.now.renewAt()):
		return false, nil
	case at.Before(r.next.renewAt()):
		after, err := mint(r.next.renewAt())
		if err == nil {
			r.now, r.next = r.next, after
		}
		return true, err
	}
	fresh, err := newRing(at)
	if err == nil {
		r.now, r.next = fresh.now, fresh.next
	}
	return true, err
}

// mint makes a P-256 certificate for this machine, in use from at on.
func mint(at time.Time) (minted, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return minted{}, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return minted{}, err
	}
	begins := at.Add(-backdate).Truncate(time.Second)
	m := minted{begins: begins, ends: begins.Add(certificateLife)}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "meridian dev"},
		NotBefore:    m.begins,
		NotAfter:     m.ends,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return minted{}, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return minted{}, err
	}
	m.tls = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	m.hash = sha256.Sum256(der)
	return m, nil
}
