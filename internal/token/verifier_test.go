package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/meridian-relay/meridian/relay"
)

const (
	issuerName = "https://issuer.example"
	audience   = "relay"
)

// keys are one private key of each kind; making RSA keys takes a while.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	return map[string]crypto.Signer{algEdDSA: ed, algES256: ec, algRS256: rs}
})

func newTestSigner(t *testing.T, private crypto.Signer) *Signer {
	t.Helper()
	s, err := NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jwks returns the key set of several signers.
func jwks(t *testing.T, signers ...*Signer) []byte {
	t.Helper()
	var set jwkSet
	for _, s := range signers {
		set.Keys = append(set.Keys, s.public)
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newTestVerifier(t *testing.T, c Config) *Verifier {
	t.Helper()
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fileVerifier trusts the signers by a key set in a file.
func fileVerifier(t *testing.T, signers ...*Signer) *Verifier {
	t.Helper()
	return newTestVerifier(t, Config{Issuers: []Issuer{
		{Name: issuerName, Audience: audience, JWKSFile: writeFile(t, jwks(t, signers...))}}})
}

func claims() Claims {
	return Claims{Issuer: issuerName, Audience: audience, Subject: "alice",
		Capabilities: map[string][]string{"chat:*": {"subscribe", "publish"}, "chat:lobby": {"history"}}}
}

func sign(t *testing.T, s *Signer, c Claims) string {
	t.Helper()
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestVerifyEveryAlgorithm(t *testing.T) {
	for alg, private := range keys() {
		t.Run(alg, func(t *testing.T) {
			s := newTestSigner(t, private)
			g, end := fileVerifier(t, s).Verify(sign(t, s, claims()))
			if end.Code != relay.Done {
				t.Fatal(end.Err())
			}
			if g.Subject != "alice" || g.Hop {
				t.Errorf("grant %+v", g)
			}
			if left := time.Until(g.Expires); left < time.Hour || left > time.Hour+31*time.Second {
				t.Errorf("expires in %v; want 1 h and the skew", left)
			}
			for _, c := range []struct {
				act  relay.Action
				ch   relay.Channel
				want bool
			}{
				{relay.ActPublish, "chat:x", true},
				{relay.ActSubscribe | relay.ActHistory, "chat:lobby", true},
				{relay.ActHistory, "chat:x", false},
				{relay.ActPublish, "other:x", false},
			} {
				if got := g.Allows(c.act, c.ch); got != c.want {
					t.Errorf("allows %v on %s: %v; want %v", c.act, c.ch, got, c.want)
				}
			}
		})
	}
}

func TestVerifySecret(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	s, err := NewSecretSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	v := newTestVerifier(t, Config{Issuers: []Issuer{{Name: issuerName, Audience: audience, Secret: secret}}})
	if _, end := v.Verify(sign(t, s, claims())); end.Code != relay.Done {
		t.Fatal(end.Err())
	}
	// Without the secret in the configuration, HS256 is refused.
	ed := newTestSigner(t, keys()[algEdDSA])
	if _, end := fileVerifier(t, ed).Verify(sign(t, s, claims())); end.Code != relay.Unauthorized {
		t.Errorf("HS256 without a secret: %+v", end)
	}
}

// raw signs any header and any claims.
func raw(t *testing.T, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(tok.Header, header)
	signed, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestRefused(t *testing.T) {
	ed, es, rs := newTestSigner(t, keys()[algEdDSA]), newTestSigner(t, keys()[algES256]), newTestSigner(t, keys()[algRS256])
	v := fileVerifier(t, ed, es, rs)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	rsPublic, err := x509.MarshalPKIXPublicKey(keys()[algRS256].Public())
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(map[string]any)) map[string]any {
		c := map[string]any{"iss": issuerName, "aud": audience, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
			"cap": map[string]any{"chat:*": []string{"publish"}}}
		change(c)
		return c
	}
	none := func(map[string]any) {}
	set := func(name string, value any) map[string]any {
		return with(func(c map[string]any) { c[name] = value })
	}
	kid := func(s *Signer) map[string]any { return map[string]any{"kid": s.public.Kid} }
	edRaw := func(claims map[string]any) string {
		return raw(t, jwt.SigningMethodEdDSA, keys()[algEdDSA], kid(ed), claims)
	}
	good := edRaw(with(none))
	if _, end := v.Verify(good); end.Code != relay.Done {
		t.Fatalf("the good token: %v", end.Err())
	}
	many := make(map[string]any)
	for i := range MaxCapabilities + 1 {
		many[fmt.Sprintf("chat:%d", i)] = []string{"publish"}
	}
	parts := strings.Split(good, ".")
	forged, _ := json.Marshal(set("sub", "mallory"))

	for name, c := range map[string]struct {
		token string
		code  relay.Code
		says  string
	}{
		"empty":        {"", relay.Unauthorized, "no token"},
		"garbage":      {"garbage", relay.Unauthorized, "not a JSON Web Token"},
		"dots":         {"..", relay.Unauthorized, "not a JSON Web Token"},
		"100 KB":       {strings.Repeat("a", 100_000), relay.Unauthorized, "100000 bytes; at most 16384"},
		"null claims":  {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("null")) + "." + parts[2], relay.Unauthorized, "issuer"},
		"signature":    {good[:len(good)-4] + "AAAA", relay.Unauthorized, "signature"},
		"no signature": {parts[0] + "." + parts[1] + ".", relay.Unauthorized, "signature"},
		"forged":       {parts[0] + "." + base64.RawURLEncoding.EncodeToString(forged) + "." + parts[2], relay.Unauthorized, "signature"},
		"forged by a stranger": {raw(t, jwt.SigningMethodEdDSA, stranger, kid(ed), with(none)),
			relay.Unauthorized, "signature"},
		"alg none": {raw(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid(ed), with(none)),
			relay.Unauthorized, "not a JSON Web Token of EdDSA"},
		"alg HS384": {raw(t, jwt.SigningMethodHS384, rsPublic, kid(rs), with(none)), relay.Unauthorized, "not a JSON Web Token of EdDSA"},
		"RS256 key as HS256 secret": {raw(t, jwt.SigningMethodHS256, rsPublic, kid(rs), with(none)),
			relay.Unauthorized, "signed as HS256; its key is for RS256"},
		"RS256 key as HS256 secret without kid": {raw(t, jwt.SigningMethodHS256, rsPublic, nil, with(none)),
			relay.Unauthorized, "no key id"},
		"another key's algorithm": {raw(t, jwt.SigningMethodRS256, keys()[algRS256], kid(ed), with(none)),
			relay.Unauthorized, "signed as RS256; its key is for EdDSA"},
		"unknown kid": {raw(t, jwt.SigningMethodEdDSA, keys()[algEdDSA], map[string]any{"kid": "old"}, with(none)),
			relay.Unauthorized, `no key with the id "old"`},
		"crit": {raw(t, jwt.SigningMethodEdDSA, keys()[algEdDSA], map[string]any{"kid": ed.public.Kid, "crit": []string{"x"}}, with(none)),
			relay.Unauthorized, "critical"},
		"issuer":         {edRaw(set("iss", "https://other.example")), relay.Unauthorized, "https://other.example"},
		"no issuer":      {edRaw(with(func(c map[string]any) { delete(c, "iss") })), relay.Unauthorized, "issuer"},
		"audience":       {edRaw(set("aud", "shop")), relay.Unauthorized, `this relay is "relay"`},
		"no audience":    {edRaw(with(func(c map[string]any) { delete(c, "aud") })), relay.Unauthorized, "aud"},
		"expired":        {edRaw(set("exp", time.Now().Add(-31*time.Second).Unix())), relay.TokenExpired, "expired at"},
		"no expiry":      {edRaw(with(func(c map[string]any) { delete(c, "exp") })), relay.Unauthorized, "no expiry"},
		"expiry far":     {edRaw(set("exp", 1e300)), relay.Unauthorized, "between 1970 and 9999"},
		"expiry early":   {edRaw(set("exp", -5)), relay.Unauthorized, "between 1970 and 9999"},
		"expiry a text":  {edRaw(set("exp", "tomorrow")), relay.Unauthorized, "not a JSON Web Token"},
		"not yet":        {edRaw(set("nbf", time.Now().Add(time.Minute).Unix())), relay.Unauthorized, "not valid before"},
		"no subject":     {edRaw(with(func(c map[string]any) { delete(c, "sub") })), relay.Unauthorized, "sub"},
		"long subject":   {edRaw(set("sub", strings.Repeat("x", MaxSubject+1))), relay.Unauthorized, "257 bytes"},
		"subject's \\n":  {edRaw(set("sub", "a\nb")), relay.Unauthorized, "control"},
		"capabilities":   {edRaw(set("cap", many)), relay.Unauthorized, "65 capabilities; at most 64"},
		"bad pattern":    {edRaw(set("cap", map[string]any{"chat": []string{"publish"}})), relay.Unauthorized, "namespace"},
		"star in middle": {edRaw(set("cap", map[string]any{"chat:*x": []string{"publish"}})), relay.Unauthorized, "only at the end"},
		"actions":        {edRaw(set("cap", map[string]any{"chat:x": make([]string, 17)})), relay.Unauthorized, "17 actions"},
		"cap a list":     {edRaw(set("cap", []string{"chat:*"})), relay.Unauthorized, "not a JSON Web Token"},
	} {
		t.Run(name, func(t *testing.T) {
			g, end := v.Verify(c.token)
			if end.Code != c.code || g != nil {
				t.Fatalf("grant %v, end %+v; want %v", g, end, c.code)
			}
			if !strings.Contains(end.Detail, c.says) {
				t.Errorf("says %q; want %q in it", end.Detail, c.says)
			}
			if len(end.Detail) > 512 {
				t.Errorf("a detail of %d bytes", len(end.Detail))
			}
			for part := range strings.SplitSeq(c.token, ".") {
				if len(part) > 8 && strings.Contains(end.Detail, part) {
					t.Errorf("the token is in the detail: %q", end.Detail)
				}
			}
		})
	}
}

// Clocks may differ by the skew, and no more.
func TestSkew(t *testing.T) {
	s := newTestSigner(t, keys()[algEdDSA])
	now := time.Now().Truncate(time.Second)
	v := newTestVerifier(t, Config{
		Now:     func() time.Time { return now },
		Issuers: []Issuer{{Name: issuerName, Audience: audience, JWKSFile: writeFile(t, jwks(t, s))}},
	})
	verify := func(exp, nbf time.Duration) relay.Code {
		_, end := v.Verify(raw(t, jwt.SigningMethodEdDSA, keys()[algEdDSA], map[string]any{"kid": s.public.Kid}, map[string]any{
			"iss": issuerName, "aud": audience, "sub": "a", "exp": now.Add(exp).Unix(), "nbf": now.Add(nbf).Unix()}))
		return end.Code
	}
	for _, c := range []struct {
		exp, nbf time.Duration
		want     relay.Code
	}{
		{-29 * time.Second, -time.Hour, relay.Done},
		{-30 * time.Second, -time.Hour, relay.TokenExpired},
		{time.Hour, 30 * time.Second, relay.Done},
		{time.Hour, 31 * time.Second, relay.Unauthorized},
	} {
		if got := verify(c.exp, c.nbf); got != c.want {
			t.Errorf("exp %v, nbf %v from now: %v; want %v", c.exp, c.nbf, got, c.want)
		}
	}
}

// What is remembered of a token ends with its expiry, and with its key.
func TestRemembered(t *testing.T) {
	s, next := newTestSigner(t, keys()[algEdDSA]), newTestSigner(t, keys()[algES256])
	now := time.Now()
	path := writeFile(t, jwks(t, s))
	v := newTestVerifier(t, Config{
		Now:     func() time.Time { return now },
		Issuers: []Issuer{{Name: issuerName, Audience: audience, JWKSFile: path}},
	})
	token := sign(t, s, claims())
	first, _ := v.Verify(token)
	second, _ := v.Verify(token)
	if first == nil || first != second {
		t.Fatalf("verified twice: %p, %p", first, second)
	}
	if err := os.WriteFile(path, jwks(t, next), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, end := v.Verify(token); end.Code != relay.Unauthorized {
		t.Errorf("after its key was withdrawn: %+v", end)
	}
	token = sign(t, next, claims())
	if _, end := v.Verify(token); end.Code != relay.Done {
		t.Fatal(end.Err())
	}
	now = now.Add(2 * time.Hour)
	if _, end := v.Verify(token); end.Code != relay.TokenExpired {
		t.Errorf("after its expiry: %+v", end)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10_000)
	for i := range 1000 {
		var sum [32]byte
		sum[0], sum[1] = byte(i), byte(i>>8)
		c.put(sum, &relay.Grant{}, 1000, 0)
		c.put(sum, &relay.Grant{}, 1000, 0) // again
		if g, _ := c.get(sum); g == nil {
			t.Fatalf("entry %d is not there", i)
		}
		if c.bytes > 10_000 || c.bytes != len(c.entries)*(1000+entryBytes) {
			t.Fatalf("%d bytes in %d entries", c.bytes, len(c.entries))
		}
	}
	c.put([32]byte{9: 9}, &relay.Grant{}, 20_000, 0)
	if g, _ := c.get([32]byte{9: 9}); g != nil {
		t.Error("an entry larger than the cache")
	}
}

// What was verified by keys that are gone by then is not remembered.
func TestCacheClearedMeanwhile(t *testing.T) {
	c := newCache(10_000)
	_, cleared := c.get([32]byte{1})
	c.clear() // the keys change while the signature is checked
	c.put([32]byte{1}, &relay.Grant{}, 1000, cleared)
	g, cleared := c.get([32]byte{1})
	if g != nil {
		t.Error("a grant of the old keys is remembered")
	}
	c.put([32]byte{1}, &relay.Grant{}, 1000, cleared)
	if g, _ := c.get([32]byte{1}); g == nil {
		t.Error("a grant of the new keys is not")
	}
}

func FuzzVerify(f *testing.F) {
	secret := []byte(strings.Repeat("s", 32))
	s, err := NewSecretSigner(secret)
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.Sign(claims())
	if err != nil {
		f.Fatal(err)
	}
	v, err := New(Config{Issuers: []Issuer{{Name: issuerName, Audience: audience, Secret: secret}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add("eyJhbGciOiJub25lIn0.bnVsbA.")
	f.Fuzz(func(t *testing.T, token string) {
		g, end := v.Verify(token)
		if (g == nil) != (end.Code != relay.Done) {
			t.Fatalf("grant %v with end %+v", g, end)
		}
		if g != nil && g.Subject != "alice" {
			t.Fatalf("a token for %q was forged", g.Subject)
		}
		if len(end.Detail) > 512 {
			t.Fatalf("a detail of %d bytes", len(end.Detail))
		}
	})
}

// What was signed well is still read with suspicion.
func FuzzClaims(f *testing.F) {
	secret := []byte(strings.Repeat("s", 32))
	v, err := New(Config{CacheBytes: -1, Issuers: []Issuer{{Name: issuerName, Audience: audience, Secret: secret}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"iss":"https://issuer.example","aud":["relay"],"sub":"a","exp":4000000000,"nbf":1,"cap":{"chat:*":["publish"]}}`)
	f.Add(`{"iss":"https://issuer.example","aud":"relay","sub":"a","exp":4e9,"cap":{"*":null}}`)
	f.Fuzz(func(t *testing.T, claims string) {
		encode := base64.RawURLEncoding.EncodeToString
		text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(claims))
		signature, err := jwt.SigningMethodHS256.Sign(text, secret)
		if err != nil {
			t.Fatal(err)
		}
		g, end := v.Verify(text + "." + encode(signature))
		if (g == nil) != (end.Code != relay.Done) {
			t.Fatalf("grant %v with end %+v", g, end)
		}
		if g == nil {
			return
		}
		if g.Subject == "" || g.Hop || g.Expires.IsZero() || len(g.Capabilities) > MaxCapabilities {
			t.Fatalf("grant %+v", g)
		}
	})
}
