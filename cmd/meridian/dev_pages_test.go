package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A given is what a page is told.
type given struct {
	URL, WebSocketURL, Subject, Token string
	CertHashes                        []string
}

func guestOf(t *testing.T, r ready, query string) (g given) {
	t.Helper()
	resp, err := http.Get(r.HTTP + "/session.json" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&g); err != nil {
		t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	return g
}

// TestDevNamesItsPages: what start-up prints can be opened.
func TestDevNamesItsPages(t *testing.T) {
	s := newShell(t)
	dev, r := s.dev()
	for _, page := range []string{"/chat/", "/cursors/"} {
		dev.logs("\n  "+r.HTTP+page+" ", 1)
		resp, err := http.Get(r.HTTP + page)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "/meridian.min.js") ||
			!strings.Contains(policy, "connect-src 'self' "+r.URL+" "+r.HTTP+" ws://"+strings.TrimPrefix(r.HTTP, "http://")+";") {
			t.Errorf("%s: status %d, policy %q\n%s", page, resp.StatusCode, policy, body)
		}
	}
	bare, _ := newShell(t).dev("--http", "")
	bare.logs("pub demo:greetings hello\n", 1)
	bare.signal(syscall.SIGTERM)
	bare.wait()
	if strings.Contains(bare.stderr(), "/chat/") {
		t.Errorf("without an HTTP address pages are named:\n%s", bare.stderr())
	}
}

// TestDevGuests: a page's token is short-lived, and good for the examples' channels alone.
func TestDevGuests(t *testing.T) {
	s := newShell(t)
	_, r := s.dev()
	g := guestOf(t, r, "")
	if g.URL != r.URL || g.WebSocketURL != r.HTTP || len(g.CertHashes) != 2 || g.CertHashes[0] != r.Hashes["now"] || g.CertHashes[1] != r.Hashes["next"] {
		t.Errorf("given %+v; ready %+v", g, r)
	}
	var claims struct {
		Sub string
		Exp int64
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(g.Token, ".")[1])
	if err != nil || json.Unmarshal(body, &claims) != nil {
		t.Fatalf("token %q: %v", g.Token, err)
	}
	if left := time.Until(time.Unix(claims.Exp, 0)); claims.Sub != g.Subject || left <= 0 || left > guestTokenLife {
		t.Errorf("token for %q, %v left; given %+v", claims.Sub, left, g)
	}
	as := s.with("MERIDIAN_TOKEN=" + g.Token)
	as.ok("", "pub", "demo:chat", "hi")
	as.ok("", "history", "demo:chat")
	as.ok("", "pub", "demo:cursors", "hi")
	as.fails(1, "forbidden", "", "history", "demo:cursors")
	as.fails(1, "forbidden", "", "pub", "demo:greetings", "hi")
	as.fails(1, "forbidden", "", "sub", "demo:chats")
	as.fails(1, "forbidden", "", "pub", "other:chat", "hi")
}

// TestDevGuestOutlivesRestart: the page of a relay that began anew on its ports goes on as who it was.
func TestDevGuestOutlivesRestart(t *testing.T) {
	s := newShell(t)
	dev, r := s.dev()
	before := guestOf(t, r, "")
	dev.signal(syscall.SIGTERM)
	if code := dev.wait(); code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", code, dev.stderr())
	}
	again := s.start("dev", "--listen", strings.TrimPrefix(r.URL, "https://"), "--http", strings.TrimPrefix(r.HTTP, "http://"), "--ops", "").ready()
	after := guestOf(t, again, "?subject="+before.Subject)
	if after.Subject != before.Subject || after.URL != before.URL || after.CertHashes[0] == before.CertHashes[0] || after.CertHashes[0] != again.Hashes["now"] {
		t.Errorf("given %+v, before %+v", after, before)
	}
	s.with("MERIDIAN_TOKEN="+after.Token).ok("", "pub", "demo:chat", "hi")
	s.with("MERIDIAN_TOKEN="+before.Token).fails(1, "unauthorized", "", "pub", "demo:chat", "hi")
}
