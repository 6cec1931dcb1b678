package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxPinned is the longest validity of a certificate that is trusted by its hash, as browsers
// have it for serverCertificateHashes.
const maxPinned = 14 * 24 * time.Hour

// names returns the URI and DNS names of a certificate.
func names(leaf *x509.Certificate) []string {
	list := make([]string, 0, len(leaf.URIs)+len(leaf.DNSNames))
	for _, u := range leaf.URIs {
		list = append(list, u.String())
	}
	return append(list, leaf.DNSNames...)
}

// pin makes conf trust the certificates with these SHA-256 hashes of their DER, and no others,
// under the rules of serverCertificateHashes.
func pin(conf *tls.Config, hashes [][32]byte) {
	now := conf.Time
	if now == nil {
		now = time.Now
	}
	conf.InsecureSkipVerify = true // VerifyConnection verifies
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server has no certificate")
		}
		return checkPinned(state.PeerCertificates[0], hashes, now())
	}
}

// anyHost makes conf trust a server by the roots alone, whatever host its certificate names.
func anyHost(conf *tls.Config) {
	conf.InsecureSkipVerify = true // VerifyConnection verifies
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server has no certificate")
		}
		options := x509.VerifyOptions{Roots: conf.RootCAs, Intermediates: x509.NewCertPool()}
		if conf.Time != nil {
			options.CurrentTime = conf.Time()
		}
		for _, c := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(options)
		return err
	}
}

func checkPinned(leaf *x509.Certificate, hashes [][32]byte, now time.Time) error {
	sum := sha256.Sum256(leaf.Raw)
	if !slices.Contains(hashes, sum) {
		return fmt.Errorf("certificate %x is not one of the %d trusted by hash; take the hash that the server prints", sum, len(hashes))
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("certificate %x is valid from %v to %v, now is %v", sum, leaf.NotBefore, leaf.NotAfter, now)
	}
	if d := leaf.NotAfter.Sub(leaf.NotBefore); d > maxPinned {
		return fmt.Errorf("certificate %x is valid for %v; trusted by hash, at most %v", sum, d, maxPinned)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return fmt.Errorf("certificate %x: the key is not ECDSA P-256", sum)
	}
	return nil
}
