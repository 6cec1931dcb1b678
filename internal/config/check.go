package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// checks gathers complaints, each with key, value and remedy.
type checks struct{ faults []error }

func (c *checks) fail(key, format string, args ...any) {
	c.faults = append(c.faults, &fault{key, fmt.Sprintf(format, args...)})
}

// A fault is what is wrong with one setting.
type fault struct{ key, text string }

func (f *fault) Error() string { return f.key + ": " + f.text }

// OfFlags reports whether err, from Check, is about settings that flags gave, and nothing else.
func (s *Settings) OfFlags(err error) bool {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	for _, err := range list.Unwrap() {
		if f, ok := err.(*fault); !ok || s.origin(f.key) != flagOrigin {
			return false
		}
	}
	return true
}

// Check reports everything that is wrong with e, with what it names on this machine included:
// files are read, addresses are not opened.
func (e *Edge) Check() error {
	var c checks
	c.address("listen", e.Listen, true)
	c.address("ops", e.Ops, false)
	c.loopback("http", e.HTTP)
	c.log(e.Log)
	c.file("tls.cert", e.TLS.Cert)
	c.file("tls.key", e.TLS.Key)
	if len(e.Tokens.Issuers) == 0 {
		c.fail("tokens.issuers", "nobody could connect: name at least one issuer and its keys (jwks)")
	}
	if e.Tokens.Audience == "" {
		c.fail("tokens.audience", "is empty; set what your issuer writes into the claim aud")
	}
	for i, issuer := range e.Tokens.Issuers {
		key := fmt.Sprintf("tokens.issuers[%d]", i)
		if issuer.Issuer == "" {
			c.fail(key+".issuer", "is empty; set what your issuer writes into the claim iss")
		}
		c.jwks(key+".jwks", issuer.JWKS)
	}
	for i, origin := range e.Origins {
		c.origin(fmt.Sprintf("origins[%d]", i), origin)
	}
	for i, other := range e.Alternatives {
		if u, err := url.Parse(other); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			c.fail(fmt.Sprintf("alternatives[%d]", i), "%q is not an edge's URL; write https://HOST:PORT", withoutPassword(other))
		}
	}
	c.limits(e.Limits)
	c.upstream(e)
	if e.Peers.Listen != "" {
		c.address("peers.listen", e.Peers.Listen, true)
		c.mutual("peers.tls", e.Peers.TLS)
	}
	return errors.Join(c.faults...)
}

// Check reports everything that is wrong with d.
func (d *Dev) Check() error {
	var c checks
	c.loopback("listen", d.Listen)
	if d.Listen == "" {
		c.fail("listen", "is empty; write HOST:PORT, with port 0 for a free one")
	}
	c.loopback("http", d.HTTP)
	c.loopback("ops", d.Ops)
	c.log(d.Log)
	c.limits(d.Limits)
	c.namespaces(d.Namespaces)
	if d.Nodes < 1 || d.Nodes > 9 {
		c.fail("nodes", "%d is not 1 to 9", d.Nodes)
	}
	return errors.Join(c.faults...)
}

func (c *checks) upstream(e *Edge) {
	switch e.Upstream.Kind {
	case "memory":
		if len(e.Upstream.Nodes) > 0 {
			c.fail("upstream.nodes", "is of no use with upstream.kind memory; set the kind to nodes, or remove it")
		}
		if len(e.Namespaces) == 0 {
			c.fail("namespaces", "there are none, so every publish would be refused; name at least one")
		}
		c.namespaces(e.Namespaces)
		c.memory(e.Namespaces)
	case "nodes":
		if len(e.Upstream.Nodes) == 0 {
			c.fail("upstream.nodes", "is empty; name at least one HOST:PORT")
		}
		for i, node := range e.Upstream.Nodes {
			c.address(fmt.Sprintf("upstream.nodes[%d]", i), node, true)
		}
		if e.Upstream.Links < 1 || e.Upstream.Links > 64 {
			c.fail("upstream.links", "%d is not 1 to 64", e.Upstream.Links)
		}
		c.mutual("upstream.tls", e.Upstream.TLS)
		if len(e.Namespaces) > 0 {
			c.fail("namespaces", "belong to the home, which upstream.kind nodes puts elsewhere; remove them here")
		}
	default:
		c.fail("upstream.kind", "%q is neither memory nor nodes", e.Upstream.Kind)
	}
}

func (c *checks) namespaces(all map[string]Namespace) {
	for name, ns := range all {
		key := "namespaces." + name
		if !namespaceName(name) {
			c.fail(key, "a namespace's name is a to z, then 0 to 9 and - too, at most 32 bytes")
		}
		if ns.Messages < 0 {
			c.fail(key+".messages", "%d is less than none", ns.Messages)
		}
		c.payload(key+".payload", ns.Payload)
		c.class(key, ns)
	}
}

func namespaceName(s string) bool {
	for i := range len(s) {
		ch := s[i]
		if !(ch >= 'a' && ch <= 'z' || i > 0 && (ch >= '0' && ch <= '9' || ch == '-')) {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

func (c *checks) limits(l Limits) {
	c.payload("limits.payload", l.Payload)
	c.limit("limits.sessions", float64(l.Sessions))
	for name, scope := range map[string]Scope{"session": l.Session, "subject": l.Subject, "address": l.Address} {
		key := "limits." + name
		for _, n := range []struct {
			key   string
			value float64
		}{
			{"sessions", float64(scope.Sessions)}, {"subscriptions", float64(scope.Subscriptions)},
			{"subscribes_per_second", scope.SubscribesPerSecond},
			{"publishes_per_second", scope.PublishesPerSecond}, {"bytes_per_second", float64(scope.BytesPerSecond)},
		} {
			c.limit(key+"."+n.key, n.value)
		}
	}
}

func (c *checks) limit(key string, n float64) {
	if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 && n != -1 {
		c.fail(key, "%v is no limit; write a number above 0, or -1 for none", n)
	}
}

func (c *checks) payload(key string, b Bytes) {
	if b > 1<<20 {
		c.fail(key, "%v is more than 1MiB, the most that the protocol carries", b)
	}
}

func (c *checks) log(l Log) {
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, l.Level) {
		c.fail("log.level", "%q is none of %s", l.Level, strings.Join(levels, ", "))
	}
	if l.Format != "text" && l.Format != "json" {
		c.fail("log.format", "%q is neither text nor json", l.Format)
	}
}

// address checks HOST:PORT; an empty one is fine unless needed.
func (c *checks) address(key, addr string, needed bool) (host string) {
	if addr == "" {
		if needed {
			c.fail(key, "is empty; write HOST:PORT")
		}
		return ""
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		c.fail(key, "%q is not HOST:PORT", addr)
		return ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		c.fail(key, "port %q of %q is not a number from 0 to 65535", port, addr)
	} else if n == 0 && strings.HasPrefix(key, "upstream") {
		c.fail(key, "%q has no port to connect to", addr)
	}
	return host
}

// loopback checks an address that must not be open to a network.
func (c *checks) loopback(key, addr string) {
	host := c.address(key, addr, false)
	if host == "" {
		if strings.HasPrefix(addr, ":") {
			c.fail(key, "%q is open to every network; write 127.0.0.1%s", addr, addr)
		}
		return
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		c.fail(key, "%q is not on loopback, and nothing protects it; use 127.0.0.1 or [::1]", addr)
	}
}

func (c *checks) file(key, path string) {
	if path == "" {
		c.fail(key, "is empty; name a file")
		return
	}
	f, err := os.Open(path)
	if err != nil {
		c.fail(key, "%v", err)
		return
	}
	f.Close()
}

func (c *checks) mutual(key string, m MutualTLS) {
	c.file(key+".ca", m.CA)
	c.file(key+".cert", m.Cert)
	c.file(key+".key", m.Key)
}

func (c *checks) jwks(key, value string) {
	if !strings.Contains(value, "://") {
		c.file(key, value)
		return
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "":
		c.fail(key, "%q is no URL", withoutPassword(value))
	case u.Scheme == "https":
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
	default:
		c.fail(key, "%q: keys are fetched by https only", withoutPassword(value))
	}
}

// origin checks the form; the edge reads it.
func (c *checks) origin(key, value string) {
	if value == "*" {
		return
	}
	scheme, host, ok := strings.Cut(value, "://")
	if !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@ ") {
		c.fail(key, "%q is not an origin; write scheme://host or scheme://host:port", value)
	}
}
