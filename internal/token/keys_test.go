package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

func TestJWKS(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this Go makes no weak RSA keys:", err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	good := newTestSigner(t, keys()[algES256]).public
	weakJWK, _ := jwkOf(weak.Public(), algRS256)
	with := func(change func(*jwk)) jwk {
		k := good
		change(&k)
		return k
	}
	if _, err := NewSigner(p384); err == nil {
		t.Error("a signer on P-384")
	}
	for name, c := range map[string]struct {
		keys []jwk
		want string // in the error; empty: one key
	}{
		"good":              {[]jwk{good}, ""},
		"others beside":     {[]jwk{{Kty: "oct", Kid: "s"}, {Kty: "EC", Crv: "P-384", Kid: "e"}, good, with(func(k *jwk) { k.Use, k.Kid = "enc", "x" })}, ""},
		"no alg":            {[]jwk{with(func(k *jwk) { k.Alg = "" })}, ""},
		"none":              {nil, "no key for EdDSA, ES256 or RS256"},
		"only a secret":     {[]jwk{{Kty: "oct", Kid: "s"}}, "no key for"},
		"another algorithm": {[]jwk{with(func(k *jwk) { k.Alg = "ES512" })}, "no key for"},
		"twice":             {[]jwk{good, good}, "a second key with kid"},
		"not on the curve":  {[]jwk{with(func(k *jwk) { k.X = k.Y })}, "key 0"},
		"short":             {[]jwk{with(func(k *jwk) { k.X = "AAAA" })}, "P-256 has 32"},
		"not base64url":     {[]jwk{with(func(k *jwk) { k.X = "+" })}, "x is not base64url"},
		"weak":              {[]jwk{weakJWK}, "RSA key of 1024 bits"},
		"short Ed25519":     {[]jwk{{Kty: "OKP", Crv: "Ed25519", X: "AAAA"}}, "Ed25519 has 32"},
		"exponent":          {[]jwk{{Kty: "RSA", N: "AQAB", E: "AQABAQABAQAB"}}, "more than 31 bits"},
		"101":               {make([]jwk, maxKeys+1), "101 keys; at most 100"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := json.Marshal(jwkSet{c.keys})
			got, err := parseJWKS(b)
			if c.want == "" && (err != nil || len(got) != 1 || got[0].alg != algES256) {
				t.Errorf("%v, %v", got, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v; want %q in it", err, c.want)
			}
		})
	}
	if _, err := parseJWKS(make([]byte, maxJWKS+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a large key set: %v", err)
	}
}

// A set whose keys have no ids serves tokens without one, as long as the algorithm tells which.
func TestKeysWithoutIDs(t *testing.T) {
	ed, es := newTestSigner(t, keys()[algEdDSA]), newTestSigner(t, keys()[algES256])
	ed.public.Kid, es.public.Kid = "", ""
	if _, end := fileVerifier(t, ed, es).Verify(sign(t, ed, claims())); end.Code != relay.Done {
		t.Error(end.Err())
	}
	if _, end := fileVerifier(t, ed, es, ed).Verify(sign(t, ed, claims())); end.Code != relay.Unauthorized {
		t.Errorf("two EdDSA keys, none named: %+v", end)
	}
}

func TestLoadSigner(t *testing.T) {
	pkcs8 := func(k any) []byte {
		b, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
	}
	ec := keys()[algES256].(*ecdsa.PrivateKey)
	sec1, _ := x509.MarshalECPrivateKey(ec)
	files := map[string][]byte{
		"PKCS #8 Ed25519": pkcs8(keys()[algEdDSA]),
		"PKCS #8 RSA":     pkcs8(keys()[algRS256]),
		"PKCS #1": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY",
			Bytes: x509.MarshalPKCS1PrivateKey(keys()[algRS256].(*rsa.PrivateKey))}),
		"SEC 1 behind its parameters": append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS"}),
			pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...),
	}
	for name, b := range files {
		t.Run(name, func(t *testing.T) {
			s, err := LoadSigner(writeFile(t, b))
			if err != nil {
				t.Fatal(err)
			}
			set, err := s.JWKS()
			if err != nil {
				t.Fatal(err)
			}
			v := newTestVerifier(t, Config{Issuers: []Issuer{{Name: issuerName, Audience: audience, JWKSFile: writeFile(t, set)}}})
			if _, end := v.Verify(sign(t, s, claims())); end.Code != relay.Done {
				t.Error(end.Err())
			}
		})
	}
	for name, b := range map[string][]byte{"empty": nil, "a certificate": []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")} {
		if _, err := LoadSigner(writeFile(t, b)); err == nil || !strings.Contains(err.Error(), "openssl genpkey") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	s := newTestSigner(t, keys()[algEdDSA])
	many := make(map[string][]string)
	for i := range MaxCapabilities {
		many[fmt.Sprintf("chat:%0190d", i)] = []string{"subscribe", "publish", "history"}
	}
	for want, change := range map[string]func(*Claims){
		"set all three":              func(c *Claims) { c.Subject = "" },
		`action "publsh" is not one`: func(c *Claims) { c.Capabilities = map[string][]string{"chat:*": {"publsh"}} },
		"pattern":                    func(c *Claims) { c.Capabilities = map[string][]string{"chat": {"publish"}} },
		"use fewer capabilities":     func(c *Claims) { c.Capabilities = many },
		"257 bytes":                  func(c *Claims) { c.Subject = strings.Repeat("x", 257) },
	} {
		c := claims()
		change(&c)
		if _, err := s.Sign(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q in it", err, want)
		}
	}
	if _, err := NewSecretSigner([]byte("short")); err == nil {
		t.Error("a short secret signs")
	}
	secret, _ := NewSecretSigner(make([]byte, 32))
	if _, err := secret.JWKS(); err == nil {
		t.Error("a secret was published")
	}
}
