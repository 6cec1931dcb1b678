package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Lifetimes, in days.
const (
	AuthorityDays = 3650
	DefaultDays   = 365
	// skew is how far behind the clock of who checks a certificate may be.
	skew = 5 * time.Minute
	day  = 24 * time.Hour
)

// An Authority signs certificates of one fleet.
type Authority struct {
	Fleet string
	Cert  *x509.Certificate
	key   crypto.Signer
}

// A Leaf is a certificate and its key, both in PEM.
type Leaf struct {
	Cert, Key []byte
	NotAfter  time.Time
}

// NewAuthority makes an authority: ECDSA P-256, valid for ten years from now.
func NewAuthority(fleet string, now time.Time) (*Authority, error) {
	if err := CheckFleet(fleet); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "meridian fleet " + clip(fleet, 64-len("meridian fleet "))},
		NotBefore:    now.Add(-skew), NotAfter: now.Add(AuthorityDays * day),
		URIs: []*url.URL{{Scheme: "spiffe", Host: fleet}},
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{Fleet: fleet, Cert: cert, key: key}, nil
}

// ParseAuthority reads an authority from PEM, as Marshal wrote it.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, errors.New("the certificate is not an authority's")
	}
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" || cert.URIs[0].Path != "" || CheckFleet(cert.URIs[0].Host) != nil {
		return nil, errors.New("the certificate names no fleet, so `meridian pki` did not make it; issue with the authority's own tools")
	}
	block, _ = pem.Decode(keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no private key in PEM (PKCS #8)")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	return &Authority{Fleet: cert.URIs[0].Host, Cert: cert, key: key}, nil
}

// Marshal returns the certificate and the key in PEM.
func (a *Authority) Marshal() (certPEM, keyPEM []byte, err error) {
	return marshal(a.Cert.Raw, a.key)
}

// Pool returns a pool of the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Issue signs a certificate, for serving and for dialling: ECDSA P-256. Hosts are DNS names and IP
// addresses at which the process is dialled by those who go by hosts. It ends with the authority
// at the latest. days 0: DefaultDays.
func (a *Authority) Issue(role Role, name string, hosts []string, days int, now time.Time) (*Leaf, error) {
	n := Name{a.Fleet, role, name}
	if err := n.Check(); err != nil {
		return nil, err
	}
	if days == 0 {
		days = DefaultDays
	}
	if days < 0 || days > AuthorityDays {
		return nil, fmt.Errorf("days %d: write 1 to %d", days, AuthorityDays)
	}
	if now.After(a.Cert.NotAfter) || now.Before(a.Cert.NotBefore) {
		return nil, fmt.Errorf("the authority is valid from %v to %v, now is %v; make a new one", a.Cert.NotBefore, a.Cert.NotAfter, now.UTC().Truncate(time.Second))
	}
	uri, err := url.Parse(n.String())
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-skew), NotAfter: now.Add(time.Duration(days) * day),
		URIs:                  []*url.URL{uri},
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if template.NotAfter.After(a.Cert.NotAfter) {
		template.NotAfter = a.Cert.NotAfter
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if err := checkHost(host); err != nil {
			return nil, err
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	certPEM, keyPEM, err := marshal(der, key)
	return &Leaf{certPEM, keyPEM, template.NotAfter}, err
}

func checkHost(host string) error {
	labels := strings.Split(strings.TrimPrefix(host, "*."), ".")
	bad := func(label string) bool {
		return len(label) == 0 || len(label) > 63 || !only(label, true) || strings.Trim(label, "-") != label
	}
	if len(host) > 253 || slices.ContainsFunc(labels, bad) {
		return fmt.Errorf("host %q: write a DNS name or an IP address, without a port", host)
	}
	return nil
}

func marshal(der []byte, key crypto.Signer) (certPEM, keyPEM []byte, err error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// newSerial returns a random serial number of 127 bits.
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
