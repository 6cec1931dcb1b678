package web

import (
	"context"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestReply(t *testing.T) {
	for _, tc := range []struct {
		v      any
		status int
		body   string
	}{
		{map[string]int{"a": 1}, http.StatusTeapot, "{\"a\":1}\n"},
		{math.NaN(), http.StatusInternalServerError, "{\"status\":500}\n"},
	} {
		w := httptest.NewRecorder()
		Reply(w, http.StatusTeapot, TypeProblem, tc.v)
		if w.Code != tc.status || w.Body.String() != tc.body {
			t.Errorf("%v: %d %q, want %d %q", tc.v, w.Code, w.Body, tc.status, tc.body)
		}
		for key, want := range map[string]string{
			"Content-Type": TypeProblem, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		} {
			if got := w.Header().Get(key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
	}
}

func TestCheckHost(t *testing.T) {
	at := func(local, host string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		if local == "" {
			return r
		}
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local), Port: 9090}))
	}
	own := map[string]bool{
		"evil.example": false, "evil.example:9090": false, "127.0.0.1.evil.example": false,
		"localhost.evil.example": false, "evil.example#localhost": false, "localhost.": false,
		"": true, "localhost": true, "LocalHost:1": true, "127.0.0.1": true, "127.0.0.1:9090": true,
		"[::1]:9090": true, "10.1.2.3:9090": true,
	}
	for host, want := range own {
		for _, loopback := range []string{"127.0.0.1", "127.9.9.9", "::1"} {
			if err := CheckHost(at(loopback, host)); (err == nil) != want {
				t.Errorf("host %q at %s: %v", host, loopback, err)
			}
		}
		for _, open := range []string{"10.1.2.3", ""} { // names of this machine are not known
			if err := CheckHost(at(open, host)); err != nil {
				t.Errorf("host %q at %q: %v", host, open, err)
			}
		}
	}
	if !OnLoopback(at("::1", "")) || OnLoopback(at("10.1.2.3", "")) || OnLoopback(at("", "")) {
		t.Error("loopback is not told from the rest")
	}
}
