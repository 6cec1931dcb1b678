package wan

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// A Place is where sockets are, in process. It has an address of its own, 10.x.y.z.
type Place struct {
	net  *Network
	name string
	host netip.Addr
	port uint16 // the last one given to who asked for none; guarded by net.mu
}

// Name is the name of the place.
func (p *Place) Name() string { return p.name }

// Addr is the address of the place with a port, for instance as the destination of WriteTo.
func (p *Place) Addr(port uint16) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.host, port))
}

// take finds the address of a new socket: port, or for 0 one that is free. used says which are
// not. net.mu is held.
func (p *Place) take(port uint16, used func(netip.AddrPort) bool) (netip.AddrPort, error) {
	if port != 0 {
		at := netip.AddrPortFrom(p.host, port)
		if used(at) {
			return at, fmt.Errorf("wan: port %d at %q is in use; give 0 for one that is free", port, p.name)
		}
		return at, nil
	}
	for range 32768 {
		p.port = max(p.port+1, 32768)
		if at := netip.AddrPortFrom(p.host, p.port); !used(at) {
			return at, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("wan: no free port at %q", p.name)
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("wan: address %q: %w", address, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("wan: address %q: port %q is not a number below 65536", address, text)
	}
	return host, uint16(n), nil
}
