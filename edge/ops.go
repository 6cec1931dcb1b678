package edge

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// newOps returns the server of the listener for operators.
func (e *Edge) newOps() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.notReady(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", e.count.handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return &http.Server{
		Handler:           underOwnName(mux),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// underOwnName refuses what reaches a loopback address under a name of elsewhere: a page whose
// name resolves to this machine (DNS rebinding) would read profiles, and start them.
func underOwnName(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if local != nil && local.IP.IsLoopback() && !isOwnName(r.Host) {
			http.Error(w, fmt.Sprintf("host %q is not this machine's; ask for localhost or an address", r.Host), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isOwnName reports whether host is an address, or localhost, with a port or without.
func isOwnName(host string) bool {
	u := url.URL{Host: host}
	name := u.Hostname()
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return strings.EqualFold(name, "localhost") || name == ""
}

// notReady returns why the edge should get no new sessions; nil: it should.
func (e *Edge) notReady() error {
	if e.draining.Load() {
		return fmt.Errorf("edge %q is draining", e.cfg.Name)
	}
	if e.cfg.Ready != nil {
		return e.cfg.Ready()
	}
	return nil
}
