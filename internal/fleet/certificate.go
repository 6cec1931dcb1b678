package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
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
	r := &ring{now: now}
	r.next, err = mint(r.renewAt())
	return r, err
}

// renewAt is when advance is due.
func (r *ring) renewAt() time.Time { return r.now.ends.Add(-renewBefore) }

// advance puts the next certificate to use and mints the one that follows it. A machine that
// slept past the end of both gets two new ones.
func (r *ring) advance(at time.Time) error {
	if at.After(r.next.ends.Add(-renewBefore)) {
		fresh, err := newRing(at)
		if err == nil {
			*r = *fresh
		}
		return err
	}
	after := ring{now: r.next}
	next, err := mint(after.renewAt())
	if err != nil {
		return err
	}
	after.next = next
	*r = after
	return nil
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
