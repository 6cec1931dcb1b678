package edge

import (
	"fmt"
	"strings"
)

// origins is the list of pages that browsers may connect from.
type origins []originRule

// An originRule is scheme://host[:port], in parts. The host may begin with "*.", the port may be
// "*".
type originRule struct {
	all                bool
	scheme, host, port string
}

func parseOrigins(list []string) (origins, error) {
	var rules origins
	for _, s := range list {
		if s == "*" {
			rules = append(rules, originRule{all: true})
			continue
		}
		r, ok := splitOrigin(s)
		if !ok || strings.Contains(strings.TrimPrefix(r.host, "*."), "*") {
			return nil, fmt.Errorf(`origin %q: write scheme://host[:port], where host may begin with "*." and port may be "*", or "*" alone`, s)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// splitOrigin parts the serialization of an origin (RFC 6454, section 6.1).
func splitOrigin(s string) (r originRule, ok bool) {
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || scheme == "" || rest == "" || strings.ContainsAny(rest, "/?#@ ") {
		return r, false
	}
	r = originRule{scheme: scheme, host: rest}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		r.host, r.port = rest[:i], rest[i+1:]
	}
	return r, r.host != ""
}

// allow reports whether a browser may connect from origin.
func (list origins) allow(origin string) bool {
	o, ok := splitOrigin(origin)
	for _, r := range list {
		if r.all {
			return true
		}
		if !ok || r.scheme != o.scheme || r.port != o.port && r.port != "*" {
			continue
		}
		if suffix, wild := strings.CutPrefix(r.host, "*"); wild && strings.HasSuffix(o.host, suffix) || r.host == o.host {
			return true
		}
	}
	return false
}
