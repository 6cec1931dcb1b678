package wan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A Config describes a path.
type Config struct {
	// Server is where the path leads: one address, for UDP and TCP alike.
	Server netip.AddrPort
	// QueueBytes bounds what one flow has under way in one direction; 0: 4 MiB. Past it UDP is
	// dropped and counted, and TCP is not read.
	QueueBytes int
	// Flows bounds the UDP flows and the TCP connections, each; 0: 4096. Further ones are
	// dropped and counted, or closed.
	Flows int
	// Seed makes losses repeatable. Not for a path of a Network, which has one.
	Seed uint64
	// Kind is what the path's traffic is counted as in a Network; empty: "udp" and "tcp".
	Kind string
	Log  *slog.Logger // nil: none
}

// Stats counts what a path did since it was opened.
type Stats struct {
	Packets  uint64 // UDP datagrams passed on, both ways
	Bytes    uint64 // of UDP and TCP passed on, both ways
	Lost     uint64 // dropped by Loss or Cut
	Overflow uint64 // dropped because a queue or the table of flows was full
	Flows    int    // UDP flows now
	Conns    int    // TCP connections now
}

type direction uint8

const (
	up direction = iota // from client to server
	down
	directions
)

// A Path listens on one port number of 127.0.0.1, for UDP and TCP, and leads to one server.
// Methods are safe for concurrent use.
type Path struct {
	// Set at construction.
	cfg Config
	udp *net.UDPConn
	tcp *net.TCPListener

	pipes   [protocols][directions]*pipe
	tallies [protocols][directions]tally
	own     [protocols]counter

	// Guarded by mu.
	mu    sync.Mutex
	flows map[netip.AddrPort]*flow
	conns map[*conn]struct{}
}

// Open takes a free port for a path to cfg.Server. The path carries nothing before Run.
func Open(cfg Config) (*Path, error) {
	const client, server = "client", "server"
	return open(cfg, func(proto Protocol, d direction) *pipe {
		if d == up {
			return newPipe(cfg.Seed, client, server, proto)
		}
		return newPipe(cfg.Seed, server, client, proto)
	})
}

func open(cfg Config, pipe func(Protocol, direction) *pipe) (*Path, error) {
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 4 << 20
	}
	if cfg.Flows == 0 {
		cfg.Flows = 4096
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !cfg.Server.IsValid() {
		return nil, fmt.Errorf("wan: server %v is not an address; give IP:PORT", cfg.Server)
	}
	p := &Path{
		cfg:   cfg,
		flows: make(map[netip.AddrPort]*flow),
		conns: make(map[*conn]struct{}),
	}
	for proto := range protocols {
		for d := range directions {
			p.pipes[proto][d] = pipe(proto, d)
			p.tallies[proto][d] = tally{&p.own[proto], p.pipes[proto][d].kind(cfg.Kind)}
		}
	}
	for try := 0; ; try++ {
		err := p.listen()
		if err == nil {
			return p, nil
		}
		if try == 20 {
			return nil, fmt.Errorf("wan: take one port for UDP and TCP: %w", err)
		}
	}
}

func (p *Path) listen() error {
	loopback := net.IPv4(127, 0, 0, 1)
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: loopback})
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback, Port: tcp.Addr().(*net.TCPAddr).Port})
	if err != nil {
		tcp.Close()
		return err
	}
	enlarge(udp)
	p.tcp, p.udp = tcp, udp
	return nil
}

// enlarge asks for socket buffers that hold a burst; less is not an error.
func enlarge(c *net.UDPConn) {
	const size = 4 << 20
	_ = c.SetReadBuffer(size)
	_ = c.SetWriteBuffer(size)
}

// Addr is the address that clients dial instead of the server's.
func (p *Path) Addr() netip.AddrPort { return p.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Run carries until ctx is done, then closes the port and every flow.
func (p *Path) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	errs := make(chan error, protocols)
	wg.Go(func() { errs <- p.runUDP(ctx, &wg); cancel() })
	wg.Go(func() { errs <- p.runTCP(ctx, &wg); cancel() })
	wg.Wait()
	err := errors.Join(<-errs, <-errs)
	p.close()
	return err
}

func (p *Path) close() {
	p.udp.Close()
	p.tcp.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.flows {
		f.server.Close()
	}
	for c := range p.conns {
		c.reset()
	}
}

// Set changes what happens to a protocol from now on. What is under way keeps its delay, but
// a cut drops that too.
func (p *Path) Set(proto Protocol, toServer, toClient Way) {
	p.pipes[proto][up].change(func(w *Way) { *w = toServer })
	p.pipes[proto][down].change(func(w *Way) { *w = toClient })
}

// SetRoundTrip gives both protocols and directions half of rtt, without loss or cut.
func (p *Path) SetRoundTrip(rtt time.Duration) {
	w := Way{Delay: rtt / 2}
	p.Set(UDP, w, w)
	p.Set(TCP, w, w)
}

// Cut cuts a protocol both ways, or joins it again without delay or loss.
func (p *Path) Cut(proto Protocol, cut bool) {
	p.Set(proto, Way{Cut: cut}, Way{Cut: cut})
}

// Kill resets every TCP connection, and gives every UDP flow a new port toward the server, as
// a NAT that restarts does. It returns how many there were.
func (p *Path) Kill() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns) + len(p.flows)
	for c := range p.conns {
		c.reset()
	}
	for addr, f := range p.flows {
		f.server.Close()
		delete(p.flows, addr)
	}
	return n
}

// Stats returns the counters.
func (p *Path) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, t := &p.own[UDP], &p.own[TCP]
	return Stats{
		Packets: u.packets.Load(), Bytes: u.bytes.Load() + t.bytes.Load(),
		Lost: u.lost.Load(), Overflow: u.overflow.Load() + t.overflow.Load(),
		Flows: len(p.flows), Conns: len(p.conns),
	}
}
