package wan

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// The ports that Ports gives away lie below those that Linux gives to sockets that ask for none:
// nobody takes one by chance while its process is down.
const (
	portsFrom = 20_000
	portsTo   = 32_000
	// attempts bounds the search; ports of others are few among so many.
	portsAttempts = 100
)

// Ports gives away ports of this machine, for processes that come and go. The zero value has given
// none. Its methods may be called at the same time.
type Ports struct {
	mu    sync.Mutex
	given map[uint16]bool // a port is free as well while its process is down
}

// Take returns a port of 127.0.0.1 that is free for UDP and TCP, each only once.
func (p *Ports) Take() (netip.AddrPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range portsAttempts {
		port := portsFrom + uint16(rand.IntN(portsTo-portsFrom))
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
		if p.given[port] || !free(at) {
			continue
		}
		if p.given == nil {
			p.given = make(map[uint16]bool)
		}
		p.given[port] = true
		return at, nil
	}
	return netip.AddrPort{}, errors.New("no port of 127.0.0.1 from 20000 to 31999 is free after 100 attempts; end what takes them")
}

// free reports whether nobody listens there.
func free(at netip.AddrPort) bool {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return false
	}
	udp.Close()
	return true
}
