package wan

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// A NetworkConfig describes a network. The zero value works.
type NetworkConfig struct {
	// Seed makes chances repeatable: those of each way depend on it and on the way's places.
	Seed uint64
	// QueueBytes bounds, in one process, what a socket or a connection has under way from one
	// place, and what a socket holds that was not read; 0: 4 MiB. Past it UDP is dropped and
	// counted, and TCP waits.
	QueueBytes int
}

// A Network is places and the ways between them. A place begins with its first mention; ways
// begin as the zero Way. Methods are safe for concurrent use.
type Network struct {
	// Set at construction.
	cfg  NetworkConfig
	ctx  context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	// Guarded by mu.
	mu        sync.Mutex
	places    map[string]*Place
	hosts     map[netip.Addr]*Place
	pipes     map[route]*pipe
	sockets   map[netip.AddrPort]*PacketConn
	listeners map[netip.AddrPort]*Listener
	streams   map[*stream]struct{}
}

type route struct {
	from, to string
	proto    Protocol
}

// New returns a network. Close ends it.
func New(cfg NetworkConfig) *Network {
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 4 << 20
	}
	ctx, end := context.WithCancel(context.Background())
	return &Network{
		cfg: cfg, ctx: ctx, end: end,
		places:    make(map[string]*Place),
		hosts:     make(map[netip.Addr]*Place),
		pipes:     make(map[route]*pipe),
		sockets:   make(map[netip.AddrPort]*PacketConn),
		listeners: make(map[netip.AddrPort]*Listener),
		streams:   make(map[*stream]struct{}),
	}
}

// Close closes every socket, listener and connection of the network's places, and returns when
// nothing runs any more. Paths end with their own Run.
func (n *Network) Close() {
	n.end()
	n.mu.Lock()
	var ends []func() error
	for _, c := range n.sockets {
		ends = append(ends, c.Close)
	}
	for _, l := range n.listeners {
		ends = append(ends, l.Close)
	}
	for s := range n.streams {
		ends = append(ends, func() error { s.reset(); return nil })
	}
	n.mu.Unlock()
	for _, end := range ends {
		_ = end()
	}
	n.work.Wait()
}

// Place returns the place of that name.
func (n *Network) Place(name string) *Place {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.place(name)
}

func (n *Network) place(name string) *Place {
	if p := n.places[name]; p != nil {
		return p
	}
	i := len(n.places) + 1
	p := &Place{net: n, name: name, host: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), port: 32768}
	n.places[name] = p
	n.hosts[p.host] = p
	return p
}

// Open takes a free port of this machine for a path from one place to another, where cfg.Server
// is. What happens to its ways happens to the path; its own Set changes the network's ways.
func (n *Network) Open(from, to string, cfg Config) (*Path, error) {
	return open(cfg, func(proto Protocol, d direction) *pipe {
		if d == up {
			return n.pipe(from, to, proto)
		}
		return n.pipe(to, from, proto)
	})
}

func (n *Network) pipe(from, to string, proto Protocol) *pipe {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.place(from)
	n.place(to)
	r := route{from, to, proto}
	p := n.pipes[r]
	if p == nil {
		p = newPipe(n.cfg.Seed, from, to, proto)
		n.pipes[r] = p
	}
	return p
}

// Set changes one way, of one protocol.
func (n *Network) Set(from, to string, proto Protocol, w Way) {
	n.pipe(from, to, proto).change(func(old *Way) { *old = w })
}

// Change changes one way, of both protocols, as f does; f must not call the network.
func (n *Network) Change(from, to string, f func(*Way)) {
	for proto := range protocols {
		n.pipe(from, to, proto).change(f)
	}
}

// Both is Change for both ways between two places.
func (n *Network) Both(a, b string, f func(*Way)) {
	n.Change(a, b, f)
	n.Change(b, a, f)
}

// All is Change for every way between the places that there are.
func (n *Network) All(f func(*Way)) {
	for _, from := range n.names() {
		for _, to := range n.names() {
			if from != to {
				n.Change(from, to, f)
			}
		}
	}
}

// CutWay cuts one way, or joins it again; nothing else about it changes.
func (n *Network) CutWay(from, to string, cut bool) {
	n.Change(from, to, func(w *Way) { w.Cut = cut })
}

// Cut is CutWay for both ways.
func (n *Network) Cut(a, b string, cut bool) {
	n.CutWay(a, b, cut)
	n.CutWay(b, a, cut)
}

// Isolate cuts a place off from all others that there are, or joins it with all of them again.
func (n *Network) Isolate(place string, cut bool) {
	for _, other := range n.names() {
		if other != place {
			n.Cut(place, other, cut)
		}
	}
}

// Heal sets every way back to the zero Way.
func (n *Network) Heal() { n.All(func(w *Way) { *w = Way{} }) }

func (n *Network) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := make([]string, 0, len(n.places))
	for name := range n.places {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Traffic is what went one way, of one protocol and kind. Packets of TCP are what was carried at a
// time, up to 16 KiB.
type Traffic struct {
	From, To string
	Protocol Protocol
	Kind     string // of the socket, listener or path that it went to, else came from
	Packets  uint64 // passed on
	Bytes    uint64 // passed on: payloads, without headers
	Lost     uint64 // UDP datagrams dropped by Loss, MTU or Cut, or because nobody listened
	Overflow uint64 // UDP datagrams and new TCP connections dropped because a queue was full
}

// Traffic returns what went so far, sorted by From, To, Protocol and Kind.
func (n *Network) Traffic() []Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []Traffic
	for _, p := range n.pipes {
		p.mu.Lock()
		for kind, c := range p.kinds {
			list = append(list, Traffic{
				From: p.from, To: p.to, Protocol: p.proto, Kind: kind, Packets: c.packets.Load(),
				Bytes: c.bytes.Load(), Lost: c.lost.Load(), Overflow: c.overflow.Load(),
			})
		}
		p.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Traffic) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
			cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// Kill resets every TCP connection in process between two places, and returns how many.
func (n *Network) Kill(a, b string) int {
	n.mu.Lock()
	var dead []*stream
	for s := range n.streams {
		if s.from == a && s.to == b || s.from == b && s.to == a {
			dead = append(dead, s)
		}
	}
	n.mu.Unlock()
	for _, s := range dead {
		s.reset()
	}
	return len(dead)
}

// resolve finds the place and port of an address: PLACE:PORT, or its IP:PORT.
func (n *Network) resolve(address string) (*Place, netip.AddrPort, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.places[host]
	if ip, err := netip.ParseAddr(host); p == nil && err == nil {
		p = n.hosts[ip.Unmap()]
	}
	if p == nil {
		return nil, netip.AddrPort{}, fmt.Errorf("wan: address %q: no such place", address)
	}
	return p, netip.AddrPortFrom(p.host, port), nil
}
