package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/meridian-relay/meridian/relay"
)

// Claims are what a Signer signs.
type Claims struct {
	Issuer       string
	Audience     string
	Subject      string
	Lifetime     time.Duration       // from now; 0: 1 h; negative: expired already, for tests
	Capabilities map[string][]string // patterns to actions
}

// A Signer makes tokens.
type Signer struct {
	method jwt.SigningMethod
	secret any
	public jwk // zero: none
}

// NewSecretSigner returns a Signer of HS256, for development.
func NewSecretSigner(secret []byte) (*Signer, error) {
	if len(secret) < minSecretBytes {
		return nil, fmt.Errorf("the secret has %d bytes; at least %d", len(secret), minSecretBytes)
	}
	return &Signer{method: jwt.SigningMethodHS256, secret: secret}, nil
}

// NewSigner returns a Signer with a private key: Ed25519, ECDSA on P-256, or RSA of at least
// 2048 bits.
func NewSigner(private crypto.Signer) (*Signer, error) {
	alg, err := algorithmOf(private.Public())
	if err != nil {
		return nil, err
	}
	switch private.(type) {
	case ed25519.PrivateKey, *ecdsa.PrivateKey, *rsa.PrivateKey:
	default:
		return nil, fmt.Errorf("a private key of type %T; keys in hardware are not supported", private)
	}
	public, err := jwkOf(private.Public(), alg)
	if err != nil {
		return nil, err
	}
	return &Signer{method: jwt.GetSigningMethod(alg), secret: private, public: public}, nil
}

// LoadSigner returns a Signer with the first private key of a PEM file: PKCS #8, SEC 1 or
// PKCS #1.
func LoadSigner(path string) (*Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	private, err := parsePrivate(b)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	s, err := NewSigner(private)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return s, nil
}

func parsePrivate(b []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, errors.New("no private key in PEM; make one with openssl genpkey -algorithm ed25519")
		}
		var k any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			k, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		signer, ok := k.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a key of type %T cannot sign", k)
		}
		return signer, nil
	}
}

// Sign returns a token with these claims, from now on.
func (s *Signer) Sign(c Claims) (string, error) {
	if c.Issuer == "" || c.Audience == "" || c.Subject == "" {
		return "", fmt.Errorf("issuer %q, audience %q, subject %q: set all three", c.Issuer, c.Audience, c.Subject)
	}
	if c.Lifetime == 0 {
		c.Lifetime = time.Hour
	}
	now := time.Now()
	claims := tokenClaims{Cap: c.Capabilities, RegisteredClaims: jwt.RegisteredClaims{
		Issuer:    c.Issuer,
		Audience:  jwt.ClaimStrings{c.Audience},
		Subject:   c.Subject,
		ExpiresAt: jwt.NewNumericDate(now.Add(c.Lifetime)),
		IssuedAt:  jwt.NewNumericDate(now),
	}}
	if _, err := claims.grant(now); err != nil {
		return "", err
	}
	if err := checkActions(c.Capabilities); err != nil {
		return "", err
	}
	t := jwt.NewWithClaims(s.method, claims)
	if s.public.Kid != "" {
		t.Header["kid"] = s.public.Kid
	}
	signed, err := t.SignedString(s.secret)
	if err != nil {
		return "", err
	}
	if len(signed) > MaxToken {
		return "", fmt.Errorf("the token has %d bytes; at most %d: use fewer capabilities", len(signed), MaxToken)
	}
	return signed, nil
}

// checkActions finds misspelt actions. A Verifier passes over them, for they may be newer than
// it is.
func checkActions(capabilities map[string][]string) error {
	for pattern, names := range capabilities {
		for _, name := range names {
			if relay.Actions[name] == 0 {
				return fmt.Errorf("capability %q: action %q is not one; actions: %s", pattern, name,
					strings.Join(slices.Sorted(maps.Keys(relay.Actions)), ", "))
			}
		}
	}
	return nil
}

// JWKS returns the key set with which the Signer's tokens are verified. It is an error for a
// secret.
func (s *Signer) JWKS() ([]byte, error) {
	if s.public.Kid == "" {
		return nil, errors.New("a secret has no public half; use an Ed25519, P-256 or RSA key")
	}
	return json.MarshalIndent(jwkSet{Keys: []jwk{s.public}}, "", "  ")
}
