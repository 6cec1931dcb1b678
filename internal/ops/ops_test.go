package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func says(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) })
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var unready atomic.Pointer[error]
	ready := func() error {
		if err := unready.Load(); err != nil {
			return *err
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, Config{Listener: l, Ready: ready, Metrics: says("metrics"), API: says("api")})
	}()
	get := func(path, host string, status int, want string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(b), want) {
			t.Errorf("%s under %q: %d %q, %v; want %d %q", path, host, resp.StatusCode, b, err, status, want)
		}
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/metrics": "metrics", "/v1/shards": "api",
		"/debug/pprof/goroutine?debug=1": "goroutine", "/debug/pprof/cmdline": "ops",
	} {
		get(path, "", http.StatusOK, want)
		get(path, "localhost", http.StatusOK, want)
		get(path, "evil.example", http.StatusForbidden, "not this machine's")
	}
	missing := errors.New("the keys are missing")
	unready.Store(&missing)
	get("/readyz", "", http.StatusServiceUnavailable, "the keys are missing")
	get("/healthz", "", http.StatusOK, "ok")
	get("/", "", http.StatusNotFound, "")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeWithoutAnAPI(t *testing.T) {
	h := newHandler(Config{Metrics: says("metrics")})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/shards", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d", w.Code)
	}
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error   { close(p.conns); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// The end waits for whom it has told, and a second for the others.
func TestServeEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		reads       bool
		least, most time.Duration
		handler     http.HandlerFunc
	}{
		"a handler that looks at its context": {true, 0, lastWithin / 2, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"a reader that does not read": {false, lastWithin, lastWithin, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := &pipes{conns: make(chan net.Conn)}
				done := make(chan error, 1)
				var ended atomic.Bool
				metrics := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					tc.handler(w, r)
					ended.Store(true)
				})
				go func() { done <- Serve(ctx, Config{Listener: l, Metrics: metrics}) }()
				ours, theirs := net.Pipe()
				defer ours.Close()
				l.conns <- theirs
				if _, err := io.WriteString(ours, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if tc.reads {
					go func() { _, _ = io.Copy(io.Discard, ours) }()
				}
				began := time.Now()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took < tc.least || took > tc.most {
					t.Errorf("ended after %v, want %v to %v", took, tc.least, tc.most)
				}
				if synctest.Wait(); !ended.Load() {
					t.Error("a handler goes on")
				}
			})
		})
	}
}

// A listener that fails ends it.
func TestServeFails(t *testing.T) {
	l := &pipes{conns: make(chan net.Conn)}
	if err := Serve(t.Context(), Config{Listener: failingListener{l}, Metrics: says("")}); err == nil || !strings.Contains(err.Error(), "ops listener: broken") {
		t.Errorf("error %v", err)
	}
}

type failingListener struct{ *pipes }

func (failingListener) Accept() (net.Conn, error) { return nil, errors.New("broken") }
