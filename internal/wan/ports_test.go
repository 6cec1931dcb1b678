package wan

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

func TestPorts(t *testing.T) {
	var p Ports
	var mu sync.Mutex
	seen := make(map[netip.AddrPort]bool)
	var group sync.WaitGroup
	const takers, each = 4, 250
	for range takers {
		group.Go(func() {
			for range each {
				at, err := p.Take()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[at] {
					t.Errorf("%v was given away twice", at)
				}
				seen[at] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for at := range seen {
		if port := at.Port(); port < portsFrom || port >= portsTo || !at.Addr().IsLoopback() {
			t.Errorf("%v", at)
		}
	}
}

// A port that somebody has for UDP or TCP alone is not free.
func TestPortsTaken(t *testing.T) {
	var p Ports
	at, err := p.Take()
	if err != nil {
		t.Fatal(err)
	}
	if !free(at) {
		t.Fatalf("%v is not free", at)
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	if free(at) {
		t.Error("free, and taken for UDP")
	}
	udp.Close()
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if free(at) {
		t.Error("free, and taken for TCP")
	}
}
