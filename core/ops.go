package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/meridian-relay/meridian/core/nodeapi"
)

// serveOps serves the listener for operators until ctx ends.
func (n *Node) serveOps(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.notReady(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", n.metrics())
	mux.Handle("/v1/", nodeapi.NewHandler(n.cfg.Name, n))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{
		Handler:           underOwnName(mux),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(n.cfg.Ops); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// notReady returns why edges should use other nodes; nil: they need not.
func (n *Node) notReady() error {
	switch {
	case n.draining.Load():
		return fmt.Errorf("node %q is draining", n.cfg.Name)
	case n.slowLately():
		return fmt.Errorf("node %q: its disk is slow", n.cfg.Name)
	case !n.notes.begun():
		return fmt.Errorf("node %q waits for the others, to begin the fleet", n.cfg.Name)
	}
	var without []string
	n.local.each(func(r *replica) {
		if _, ok := r.leader(); !ok {
			without = append(without, r.id.Shard.String())
		}
	})
	if len(without) > 0 {
		count := len(without)
		return fmt.Errorf("node %q: %d shards know no leader: %s", n.cfg.Name, count, strings.Join(without[:min(count, 8)], ", "))
	}
	return nil
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
