package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// maxJWKS bounds a key set, in bytes.
const maxJWKS = 256 << 10

// A jwk is one key of a set (RFC 7517, RFC 8037), as far as it concerns us.
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

// parseJWKS returns the keys of a set that can verify tokens. Keys of other kinds are passed
// over, so that a set may hold more than we know; a damaged one is an error.
func parseJWKS(b []byte) ([]key, error) {
	if len(b) > maxJWKS {
		return nil, fmt.Errorf("the key set has more than %d bytes", maxJWKS)
	}
	var set jwkSet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf(`not a key set, {"keys": […]}: %w`, err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys; at most %d", len(set.Keys), maxKeys)
	}
	var keys []key
	seen := make(map[string]bool)
	for i, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		public, err := k.public()
		if errors.Is(err, errOtherKey) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("key %d (kid %q): %w", i, k.Kid, err)
		}
		alg, err := algorithmOf(public)
		if err != nil {
			return nil, fmt.Errorf("key %d (kid %q): %w", i, k.Kid, err)
		}
		if k.Alg != "" && k.Alg != alg {
			continue // meant for an algorithm that we do not accept
		}
		if k.Kid != "" && seen[k.Kid] {
			return nil, fmt.Errorf("key %d: a second key with kid %q", i, k.Kid)
		}
		seen[k.Kid] = true
		keys = append(keys, key{id: k.Kid, alg: alg, public: public})
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key for EdDSA, ES256 or RS256")
	}
	return keys, nil
}

// errOtherKey: a key of a kind that verifies nothing here.
var errOtherKey = errors.New("another kind of key")

func (k *jwk) public() (any, error) {
	switch {
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		x, err := decode("x", k.X)
		if err != nil {
			return nil, err
		}
		if len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("x has %d bytes; Ed25519 has %d", len(x), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(x), nil
	case k.Kty == "EC" && k.Crv == "P-256":
		x, errX := decode("x", k.X)
		y, errY := decode("y", k.Y)
		if err := errors.Join(errX, errY); err != nil {
			return nil, err
		}
		if len(x) != 32 || len(y) != 32 {
			return nil, fmt.Errorf("x and y have %d and %d bytes; P-256 has 32", len(x), len(y))
		}
		point := append(append([]byte{4}, x...), y...)
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	case k.Kty == "RSA":
		n, errN := decode("n", k.N)
		e, errE := decode("e", k.E)
		if err := errors.Join(errN, errE); err != nil {
			return nil, err
		}
		exponent := new(big.Int).SetBytes(e)
		if len(e) > 4 || exponent.BitLen() > 31 {
			return nil, errors.New("the exponent e has more than 31 bits")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	}
	return nil, errOtherKey
}

func decode(name, s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64url: %w", name, err)
	}
	return b, nil
}

// jwkOf describes a public key; its kid is the key's thumbprint (RFC 7638).
func jwkOf(public any, alg string) (jwk, error) {
	encode := base64.RawURLEncoding.EncodeToString
	var k jwk
	var canonical string
	switch p := public.(type) {
	case ed25519.PublicKey:
		k = jwk{Kty: "OKP", Crv: "Ed25519", X: encode(p)}
		canonical = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q}`, k.Crv, k.Kty, k.X)
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			return k, err
		}
		k = jwk{Kty: "EC", Crv: "P-256", X: encode(point[1:33]), Y: encode(point[33:])}
		canonical = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Crv, k.Kty, k.X, k.Y)
	case *rsa.PublicKey:
		k = jwk{Kty: "RSA", N: encode(p.N.Bytes()), E: encode(big.NewInt(int64(p.E)).Bytes())}
		canonical = fmt.Sprintf(`{"e":%q,"kty":%q,"n":%q}`, k.E, k.Kty, k.N)
	default:
		return k, errOtherKey
	}
	sum := sha256.Sum256([]byte(canonical))
	k.Kid, k.Use, k.Alg = encode(sum[:]), "sig", alg
	return k, nil
}
