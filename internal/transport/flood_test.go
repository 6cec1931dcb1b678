package transport

import (
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/meridian-relay/meridian/relay"
)

// Ten thousand connections that never say Hello, or as many as the machine has files for, hold a
// bounded number of places and bytes, for a bounded time, and harm no session that stands.
func TestTenThousandMute(t *testing.T) {
	const each = 64 // by default, of an address
	most := 2000    // by default
	if from(1).Equal(from(2)) {
		most = each
	}
	s := newStage(t, func(c *ServerConfig) { c.HelloWithin = 2 * time.Second })
	standing, err := s.dialer(nil).WebTransport(soon(t), s.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	go echo(s.next())
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)

	// Some shake hands over QUIC; most are TCP, as a client has those for nothing.
	quic := s.dialer(func(c *DialerConfig) { c.PacketConn = listenFrom(t, 1) })
	var dials sync.WaitGroup
	for range 2 * each {
		dials.Go(func() { _, _ = quic.dial(soon(t), s.addr, http3.NextProtoH3, quic.quic(0, httpUni)) })
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	n := int(min(10_000, files.Cur/2-min(files.Cur/2, 600)))
	conns := make([]net.Conn, 0, n)
	var peak int
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from(2 + i/each)}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		peak = max(peak, s.server.Stats().Unwelcomed)
		if i == n*3/4 {
			runtime.ReadMemStats(&during)
			mustEcho(t, standing)
		}
	}
	dials.Wait()
	mustEcho(t, standing)
	if refused := s.server.Stats().Refused; peak > most || peak < min(n, most)/2 || refused < each {
		t.Errorf("%d unwelcomed at most, %d refused, of %d; want no more than %d", peak, refused, n, most)
	}
	grown := int(during.HeapInuse+during.StackInuse) - int(before.HeapInuse+before.StackInuse)
	t.Logf("%d connections, %d at a time: %d KiB for each of these", n, peak, grown/max(peak, 1)>>10)
	if grown > peak*100<<10 {
		t.Errorf("%d bytes for %d connections", grown, peak)
	}
	eventually(t, "all are gone", func() bool { return s.server.Stats().Unwelcomed == 0 })
	if _, err := s.dialer(nil).WebTransport(soon(t), s.url("https")); err != nil {
		t.Errorf("after them: %v", err)
	}
	mustEcho(t, standing)
	for _, c := range conns {
		_ = c.Close()
	}
}

// from returns the i-th address of loopback, or the only one where there are no others.
func from(i int) net.IP {
	if ip := net.IPv4(127, 0, byte(1+i/250), byte(1+i%250)); runtime.GOOS == "linux" {
		return ip
	}
	return net.IPv4(127, 0, 0, 1)
}

func listenFrom(t *testing.T, i int) net.PacketConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: from(i)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// echo gives back what comes on every stream.
func echo(s relay.Session) {
	for {
		stream, err := s.Accept(s.Context())
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(stream, stream)
			_ = stream.Close()
		}()
	}
}

// mustEcho fails unless the session carries a stream there and back.
func mustEcho(t *testing.T, s relay.Session) {
	t.Helper()
	stream, err := s.Open(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.WriteString(stream, "still here?"); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	if b, err := io.ReadAll(stream); err != nil || string(b) != "still here?" {
		t.Fatalf("%q, %v", b, err)
	}
}

// Streams that are opened and reset in a loop, before they say whose they are, hold at most what
// one connection may, and harm no other. The library keeps those that were reset unread.
func TestStreamsResetUnnamed(t *testing.T) {
	s := newStage(t, nil)
	other, err := s.dialer(nil).WebTransport(soon(t), s.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	go echo(s.next())
	hostile, err := s.dialer(nil).WebTransport(soon(t), s.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	s.next()
	conn := hostile.(*wtSession).conn
	mustEcho(t, other)
	before := runtime.NumGoroutine()
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end) && conn.Context().Err() == nil; {
		if stream, err := conn.OpenStream(); err == nil {
			stream.CancelWrite(0)
			stream.CancelRead(0)
		}
		if uni, err := conn.OpenUniStream(); err == nil {
			uni.CancelWrite(0)
		}
		time.Sleep(100 * time.Microsecond)
	}
	mustEcho(t, other)
	if n := runtime.NumGoroutine() - before; n > 40 {
		t.Errorf("%d goroutines are left of streams that were reset", n)
	}
}
