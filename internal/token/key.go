package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

// The algorithms. A key has exactly one.
const (
	algEdDSA = "EdDSA"
	algES256 = "ES256"
	algRS256 = "RS256"
	algHS256 = "HS256"
)

// Bounds of keys.
const (
	minRSABits     = 2048
	maxRSABits     = 8192
	minSecretBytes = 32
	maxKeys        = 100
)

// A key verifies the tokens of one algorithm.
type key struct {
	id     string
	alg    string
	public any // ed25519.PublicKey, *ecdsa.PublicKey, *rsa.PublicKey, or a secret's []byte
}

// algorithmOf returns the one algorithm that tokens under a public key have.
func algorithmOf(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return algEdDSA, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", fmt.Errorf("an elliptic key on %s; P-256 is supported", k.Curve.Params().Name)
		}
		return algES256, nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", fmt.Errorf("an RSA key of %d bits; from %d to %d", bits, minRSABits, maxRSABits)
		}
		if k.E < 3 || k.E%2 == 0 {
			return "", fmt.Errorf("an RSA key with the exponent %d", k.E)
		}
		return algRS256, nil
	}
	return "", fmt.Errorf("a key of type %T; Ed25519, P-256 and RSA are supported", public)
}
