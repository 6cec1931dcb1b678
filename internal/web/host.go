package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// OnLoopback reports whether r came to a loopback address; what it came to is known in an
// http.Server only.
func OnLoopback(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return local != nil && local.IP.IsLoopback()
}

// CheckHost returns why r must be refused: it came to a loopback address under a name of elsewhere.
// A page in a browser here, whose name was made to resolve to this machine (DNS rebinding), could
// otherwise read what is served to this machine alone. nil: it need not.
func CheckHost(r *http.Request) error {
	if OnLoopback(r) && !isOwnName(r.Host) {
		return fmt.Errorf("host %q is not this machine's; ask for localhost or an address", r.Host)
	}
	return nil
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
