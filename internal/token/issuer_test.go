package token

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A keyServer answers key sets without a network.
type keyServer struct {
	mu    sync.Mutex
	set   []byte
	fail  bool
	delay time.Duration
	calls atomic.Int32
}

func (k *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	k.calls.Add(1)
	k.mu.Lock()
	set, fail, delay := k.set, k.fail, k.delay
	k.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	if fail {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = w.Write(set)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (k *keyServer) change(set []byte, fail bool, delay time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set, k.fail, k.delay = set, fail, delay
}

func urlVerifier(t *testing.T, k *keyServer) *Verifier {
	return newTestVerifier(t, Config{Transport: k, Issuers: []Issuer{
		{Name: issuerName, Audience: audience, JWKSURL: "https://issuer.example/jwks"}}})
}

// A token under a new key makes the verifier load the key set, once for all who wait, and not
// again for a while.
func TestUnknownKeyLoads(t *testing.T) {
	old, next := newTestSigner(t, keys()[algEdDSA]), newTestSigner(t, keys()[algES256])
	other := newTestSigner(t, keys()[algRS256])
	newToken, oldToken, strange := sign(t, next, claims()), sign(t, old, claims()), sign(t, other, claims())
	oldSet, bothSet := jwks(t, old), jwks(t, old, next)
	synctest.Test(t, func(t *testing.T) {
		k := &keyServer{set: oldSet}
		v := urlVerifier(t, k)
		if v.Ready() == nil {
			t.Error("ready without keys")
		}
		if _, end := v.Verify(oldToken); end.Code != relay.Done {
			t.Fatal(end.Err())
		}
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
		k.change(bothSet, false, time.Second)
		time.Sleep(unknownKeyEvery)
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() {
				if _, end := v.Verify(newToken); end.Code != relay.Done {
					t.Error(end.Err())
				}
			})
		}
		wait.Wait()
		if n := k.calls.Load(); n != 2 {
			t.Errorf("%d loads; want 2", n)
		}
		for range 1000 {
			if _, end := v.Verify(strange); end.Code != relay.Unauthorized {
				t.Fatalf("%+v", end)
			}
		}
		if n := k.calls.Load(); n != 2 {
			t.Errorf("%d loads after 1,000 tokens with an unknown key; want 2", n)
		}
	})
}

// A key server that hangs costs a verification 2 s, one that fails leaves the keys in force.
func TestKeyServerFails(t *testing.T) {
	old, next := newTestSigner(t, keys()[algEdDSA]), newTestSigner(t, keys()[algES256])
	oldToken, newToken := sign(t, old, claims()), sign(t, next, claims())
	set := jwks(t, old)
	synctest.Test(t, func(t *testing.T) {
		k := &keyServer{delay: time.Minute}
		v := urlVerifier(t, k)
		begun := time.Now()
		if _, end := v.Verify(oldToken); end.Code != relay.Unavailable || end.RetryAfter == 0 {
			t.Errorf("without keys: %+v", end)
		}
		if took := time.Since(begun); took != waitForKeys {
			t.Errorf("it took %v; want %v", took, waitForKeys)
		}
		k.change(set, false, 0)
		if err := v.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.change([]byte(`{"keys":[]}`), false, 0)
		if err := v.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "no key for") {
			t.Errorf("reload of an empty set: %v", err)
		}
		k.change(set, true, 0)
		if err := v.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "500") {
			t.Errorf("reload from a broken server: %v", err)
		}
		if _, end := v.Verify(oldToken); end.Code != relay.Done {
			t.Error(end.Err())
		}
		if _, end := v.Verify(newToken); end.Code != relay.Unauthorized {
			t.Errorf("%+v", end)
		}
	})
}

// Run loads the keys, again soon after a failure, and then every Refresh; it ends with its
// context.
func TestRunRefreshes(t *testing.T) {
	s := newTestSigner(t, keys()[algEdDSA])
	set := jwks(t, s)
	synctest.Test(t, func(t *testing.T) {
		k := &keyServer{fail: true}
		v := urlVerifier(t, k)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- v.Run(ctx) }()
		time.Sleep(10 * time.Second)
		if n := k.calls.Load(); n < 3 {
			t.Errorf("%d loads in 10 s of failure; want at least 3", n)
		}
		k.change(set, false, 0)
		time.Sleep(time.Minute)
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
		before := k.calls.Load()
		time.Sleep(time.Hour)
		if n := k.calls.Load() - before; n < 12 || n > 25 {
			t.Errorf("%d loads in an hour; want 12 to 24", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// However long a key server is away, Run asks on.
func TestKeyServerAwayForDays(t *testing.T) {
	set := jwks(t, newTestSigner(t, keys()[algEdDSA]))
	synctest.Test(t, func(t *testing.T) {
		k := &keyServer{fail: true}
		v := urlVerifier(t, k)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- v.Run(ctx) }()
		time.Sleep(72 * time.Hour)
		k.change(set, false, 0)
		time.Sleep(5 * time.Minute)
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
	})
}

func TestKeySetOverHTTP(t *testing.T) {
	s := newTestSigner(t, keys()[algEdDSA])
	set := jwks(t, s)
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 4<<20)) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/out", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://issuer.example/jwks", http.StatusFound)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, want := range map[string]string{
		"/jwks":    "",
		"/large":   "more than 262144 bytes",
		"/loop":    "redirects",
		"/out":     "use https",
		"/missing": "404",
	} {
		v := newTestVerifier(t, Config{Issuers: []Issuer{{Name: issuerName, Audience: audience, JWKSURL: server.URL + path}}})
		err := v.Reload(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	good := Issuer{Name: issuerName, Audience: audience, Secret: make([]byte, 32)}
	with := func(change func(*Issuer)) []Issuer {
		i := good
		change(&i)
		return []Issuer{i}
	}
	for want, issuers := range map[string][]Issuer{
		"no token issuer":       nil,
		"set both":              with(func(i *Issuer) { i.Audience = "" }),
		"set one of":            with(func(i *Issuer) { i.Secret = nil }),
		"set one of key set":    with(func(i *Issuer) { i.JWKSURL = "https://issuer.example" }),
		"31 bytes; at least 32": with(func(i *Issuer) { i.Secret = make([]byte, 31) }),
		"use https":             with(func(i *Issuer) { i.Secret, i.JWKSURL = nil, "http://issuer.example" }),
		"use https, or http":    with(func(i *Issuer) { i.Secret, i.JWKSURL = nil, "http://127.0.0.1.example/" }),
		"no such file":          with(func(i *Issuer) { i.Secret, i.JWKSFile = nil, "/nowhere" }),
		"is named twice":        {good, good},
	} {
		if _, err := New(Config{Issuers: issuers}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q in it", err, want)
		}
	}
}
