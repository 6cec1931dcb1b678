// Package ops owns the listener for those who operate a process: its health, metrics and profiles.
package ops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/internal/web"
)

// A Config configures Serve. All but API is needed.
type Config struct {
	Listener net.Listener // closed by Serve
	Ready    func() error // why /readyz is 503; nil: it is 200
	Metrics  http.Handler // at /metrics
	API      http.Handler // below /v1/; nil: none
}

// lastWithin is how long answers take at most after the end.
const lastWithin = time.Second

// Serve serves until c's listener fails, or ctx ends: with it end profiles that are taken, and
// requests whose handlers look at their context.
func Serve(ctx context.Context, c Config) error {
	server := &http.Server{
		Handler:           newHandler(c),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	var group sync.WaitGroup
	own, stop := context.WithCancel(ctx)
	group.Go(func() {
		<-own.Done()
		last, done := context.WithTimeout(context.WithoutCancel(ctx), lastWithin)
		defer done()
		if server.Shutdown(last) != nil { // who reads slowly is cut off
			_ = server.Close()
		}
	})
	err := server.Serve(c.Listener)
	stop()
	group.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("ops listener: %w", err)
}

func newHandler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", c.Metrics)
	if c.API != nil {
		mux.Handle("/v1/", c.API)
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := web.CheckHost(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
