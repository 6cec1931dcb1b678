package fleet

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listeners are the sockets of an edge, still without anybody who serves them.
type Listeners struct {
	UDP   net.PacketConn
	TCP   net.Listener // same port number as UDP
	Plain net.Listener // nil: none
	Ops   net.Listener // nil: none
}

// Listen opens listeners: addr for clients, over UDP and TCP with one port number (0: a free
// one), plain and ops where not empty.
func Listen(addr, plain, ops string) (*Listeners, error) {
	var l Listeners
	var err error
	if l.UDP, l.TCP, err = listenBoth(addr); err != nil {
		return nil, err
	}
	if l.Plain, err = listenTCP(plain); err == nil {
		l.Ops, err = listenTCP(ops)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return &l, nil
}

// Close closes what was opened.
func (l *Listeners) Close() {
	if l.UDP != nil {
		l.UDP.Close()
	}
	for _, t := range []net.Listener{l.TCP, l.Plain, l.Ops} {
		if t != nil {
			t.Close()
		}
	}
}

func listenTCP(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, explain(addr, err)
	}
	return l, nil
}

// listenBoth opens UDP and TCP with one port number.
func listenBoth(addr string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	// A free port of TCP may be taken for UDP: then the next one.
	const attempts = 50
	for range attempts {
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, explain(addr, err)
		}
		at := net.JoinHostPort(host, fmt.Sprint(tcp.Addr().(*net.TCPAddr).Port))
		udp, err := net.ListenPacket("udp", at)
		if err == nil {
			return udp, tcp, nil
		}
		tcp.Close()
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, explain(addr, err)
		}
	}
	return nil, nil, fmt.Errorf("listen on %s: no port is free for both TCP and UDP after %d attempts", addr, attempts)
}

func explain(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w: another process has it; choose another port, or 0 for a free one", addr, syscall.EADDRINUSE)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}
