package js

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func newPages(t *testing.T, session func(string) (Session, error)) *Pages {
	t.Helper()
	if session == nil {
		session = func(subject string) (Session, error) { return Session{Token: "for " + subject}, nil }
	}
	p, err := NewPages(Config{Session: session, Connect: []string{"https://relay.test:1", "ws://relay.test:2"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get requests path of p, with headers as "Name: value".
func get(p *Pages, at string, headers ...string) *http.Response {
	return ask(p, http.MethodGet, at, headers...)
}

func ask(p *Pages, method, at string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+at, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

// paths are what the pages link to, and everything that is embedded.
func paths(t *testing.T) []string {
	t.Helper()
	all := []string{"/", "/chat/", "/cursors/", bundlePath}
	err := fs.WalkDir(files, "examples", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Base(name) != "index.html" {
			all = append(all, strings.TrimPrefix(name, "examples"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' https://relay.test:1 ws://relay.test:2; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// TestHeaders: every answer, whatever it is, has the policy.
func TestHeaders(t *testing.T) {
	p := newPages(t, nil)
	status := map[string]int{"/nothing": 404, "/session.json": 200, "/session.json?subject=x": 400, "/chat": 308, "/../embed.go": 404, "/chat/index.html": 404}
	for _, at := range paths(t) {
		status[at] = 200
	}
	for at, want := range status {
		r := get(p, at)
		if r.StatusCode != want {
			t.Errorf("%s: status %d, want %d", at, r.StatusCode, want)
		}
		for name, value := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := r.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", at, name, got, value)
			}
		}
		shared := r.Header.Get("Cross-Origin-Resource-Policy") == "cross-origin"
		if shared != (at == bundlePath) {
			t.Errorf("%s: Cross-Origin-Resource-Policy %q", at, r.Header.Get("Cross-Origin-Resource-Policy"))
		}
		if want := map[string]string{".js": "text/javascript", ".css": "text/css", "": "text/html"}[path.Ext(at)]; r.StatusCode == 200 && want != "" &&
			r.Header.Get("Content-Type") != want+"; charset=utf-8" {
			t.Errorf("%s: Content-Type %q, want %s", at, r.Header.Get("Content-Type"), want)
		}
	}
}

func TestAssetsAreNotSentAgain(t *testing.T) {
	p := newPages(t, nil)
	tag := get(p, "/chat/").Header.Get("ETag")
	if r := get(p, "/chat/", "If-None-Match: "+tag); tag == "" || r.StatusCode != http.StatusNotModified {
		t.Errorf("tag %q: status %d", tag, r.StatusCode)
	}
	if r := ask(p, http.MethodPost, "/chat/"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", r.StatusCode)
	}
}

// TestHost: a name that leads here without being this machine's own gets nothing.
func TestHost(t *testing.T) {
	p := newPages(t, nil)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:8080": 200, "127.9.9.9:1": 200, "[::1]": 200, "[::1]:8080": 200, "localhost": 200, "LocalHost:8080": 200,
		"": 403, "evil.example": 403, "evil.example:8080": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
		"10.0.0.1:8080": 403, "0.0.0.0:8080": 403, "[::]:8080": 403, "[2001:db8::1]": 403, "localhost:8080:8080": 403, "2130706433": 403,
	} {
		for _, at := range []string{"/", "/session.json", bundlePath} {
			if got := get(p, at, "Host: "+host).StatusCode; got != want {
				t.Errorf("%s at host %q: status %d, want %d", at, host, got, want)
			}
		}
	}
}

// TestSessionIsForOwnPages: what a browser asks for another site's page is refused.
func TestSessionIsForOwnPages(t *testing.T) {
	p := newPages(t, nil)
	for headers, want := range map[string]int{
		"":                              200,
		"Sec-Fetch-Site: same-origin":   200,
		"Sec-Fetch-Site: none":          200,
		"Sec-Fetch-Site: same-site":     403, // another port of this machine
		"Sec-Fetch-Site: cross-site":    403,
		"Sec-Fetch-Site: unheard-of":    403,
		"Origin: http://127.0.0.1:8080": 200,
		"Origin: http://127.0.0.1:3000": 403,
		"Origin: https://evil.example":  403,
		"Origin: null":                  403,
		"Origin: %zz":                   403,
	} {
		r := get(p, "/session.json", headers)
		if r.StatusCode != want || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q: status %d, want %d; Cache-Control %q", headers, r.StatusCode, want, r.Header.Get("Cache-Control"))
		}
	}
}

func session(t *testing.T, r *http.Response) (s Session) {
	t.Helper()
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, %s", r.StatusCode, r.Header.Get("Content-Type"))
	}
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGuests: a page is a guest of its own, stays the same one, and can be nobody else.
func TestGuests(t *testing.T) {
	p := newPages(t, nil)
	a, b := session(t, get(p, "/session.json")), session(t, get(p, "/session.json"))
	if a.Subject == b.Subject || !strings.HasPrefix(a.Subject, guest) || a.Token != "for "+a.Subject {
		t.Errorf("guests %+v and %+v", a, b)
	}
	if again := session(t, get(p, "/session.json?subject="+a.Subject)); again.Subject != a.Subject || again.Token != a.Token {
		t.Errorf("again %+v, want %+v", again, a)
	}
	for _, subject := range []string{"dev", "guest-", "guest-abcdefghijk", "guest-abcdefghijkl1", "guest-ABCDEFGHIJKL", "admin-abcdefghijkl", "guest-abcdefghijk%00"} {
		if r := get(p, "/session.json?subject="+subject); r.StatusCode != http.StatusBadRequest {
			t.Errorf("subject %s: status %d", subject, r.StatusCode)
		}
	}
	broken := newPages(t, func(string) (Session, error) { return Session{}, errors.New("no key") })
	if r := get(broken, "/session.json"); r.StatusCode != http.StatusInternalServerError {
		t.Errorf("where none can be signed: status %d", r.StatusCode)
	}
}

// TestExamples: each is one page to read, and leaves nothing for the policy to refuse.
func TestExamples(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script>|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.html\(`)
	lines := make(map[string]int)
	err := fs.WalkDir(files, "examples", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		lines[path.Dir(name)] += strings.Count(string(b), "\n")
		for _, found := range inline.FindAllString(string(b), -1) {
			t.Errorf("%s has %q", name, found)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if len(line) > 150 {
				t.Errorf("%s:%d has %d columns; at most 150, lest lines count for nothing", name, i+1, len(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range []string{"examples/chat", "examples/cursors"} {
		if n := lines[example]; n == 0 || n >= 150 {
			t.Errorf("%s has %d lines; below 150", example, n)
		}
	}
}

// TestCapabilities: a guest may do in the examples' channels what they do, and nothing elsewhere.
func TestCapabilities(t *testing.T) {
	for pattern := range Capabilities() {
		_, name, _ := strings.Cut(pattern, ":")
		script, err := files.ReadFile("examples/" + name + "/" + name + ".js")
		if err != nil || !strings.Contains(string(script), `.channel("`+pattern+`")`) {
			t.Errorf("no example opens %q: %v", pattern, err)
		}
	}
}
