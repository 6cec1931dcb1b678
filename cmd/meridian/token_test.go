package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// TestTokenAllows: a token of one's own may do what it says and nothing else.
func TestTokenAllows(t *testing.T) {
	s := newShell(t)
	s.dev()
	token := strings.TrimSpace(s.ok("", "token", "--subject", "alice", "--allow", "demo:a*=publish,subscribe", "--allow", "demo:b=history").out)
	alice := s.with("MERIDIAN_TOKEN=" + token)
	alice.ok("", "pub", "demo:a1", "x")
	alice.fails(1, "forbidden", "", "pub", "demo:b", "x")
	alice.fails(1, "forbidden", "", "history", "demo:a1")
	alice.ok("", "history", "demo:b")
	sub := alice.start("sub", "demo:a1", "--count", "1", "-o", "json")
	waitFor(sub, "subscribed")
	alice.ok("", "pub", "demo:a1", "y")
	var m map[string]any
	if sub.json(&m); m["publisher"] != "alice" {
		t.Errorf("publisher %v, want alice", m["publisher"])
	}
	sub.wait()
	s.with("MERIDIAN_TOKEN=nonsense").fails(1, "unauthorized", "", "pub", "demo:a1", "x")
}

func TestTokenRefusesMisspeltActions(t *testing.T) {
	s := newShell(t)
	s.dev()
	s.fails(1, `action "subscibe" is not one`, "", "token", "--allow", "demo:*=subscibe")
	s.fails(1, "no namespace", "", "token", "--allow", "demo=subscribe")
}

func TestTokenWithKey(t *testing.T) {
	s := newShell(t)
	key := writeKey(t)
	s.fails(2, "say --issuer and --allow too", "", "token", "--key", key)
	token := s.ok("", "token", "--key", key, "--issuer", "https://auth.test", "--allow", "chat:*=subscribe", "--audience", "chat", "--subject", "bob").out
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Iss, Sub string
		Aud      []string
		Cap      map[string][]string
	}
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Iss != "https://auth.test" || claims.Sub != "bob" || len(claims.Aud) != 1 || claims.Aud[0] != "chat" || claims.Cap["chat:*"][0] != "subscribe" {
		t.Errorf("claims %+v", claims)
	}
	s.fails(1, "no-such.pem", "", "token", "--key", "no-such.pem", "--issuer", "x", "--allow", "chat:*=subscribe")
	s.fails(1, "no context is selected", "", "token")
}
