package wan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// echo is a server that returns what it gets, on UDP and TCP.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	var lc net.ListenConfig
	for range 20 {
		l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			l.Close()
			continue
		}
		t.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, from, err := u.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				_, _ = u.WriteToUDPAddrPort(buf[:n], from)
			}
		}()
		return addr
	}
	t.Fatal("no port free on UDP and TCP")
	return netip.AddrPort{}
}

// start opens a path to an echo server and runs it until the test ends.
func start(t *testing.T, cfg Config) *Path {
	t.Helper()
	cfg.Server = echo(t)
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runPath(t, p)
	return p
}

func runPath(t *testing.T, p *Path) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
}

func dial(t *testing.T, network string, p *Path) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), network, p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// roundTrip sends text and returns how long its echo took; an error if none came in time.
func roundTrip(c net.Conn, text string, within time.Duration) (time.Duration, error) {
	begin := time.Now()
	if _, err := io.WriteString(c, text); err != nil {
		return 0, err
	}
	_ = c.SetReadDeadline(begin.Add(within))
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil {
		return 0, err
	}
	if string(buf) != text {
		return 0, fmt.Errorf("echo %q, want %q", buf, text)
	}
	return time.Since(begin), nil
}

func TestDelay(t *testing.T) {
	p := start(t, Config{})
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, p)
		if _, err := roundTrip(c, "warm", 5*time.Second); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		p.SetRoundTrip(80 * time.Millisecond)
		took, err := roundTrip(c, "slow", 5*time.Second)
		if err != nil || took < 80*time.Millisecond {
			t.Errorf("%s: round trip %v, %v; want 80 ms or more", network, took, err)
		}
		p.SetRoundTrip(0)
		if _, err := roundTrip(c, "fast", 5*time.Second); err != nil {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestCutDropsUDPAndHoldsTCP(t *testing.T) {
	p := start(t, Config{})
	u, c := dial(t, "udp", p), dial(t, "tcp", p)
	for _, conn := range []net.Conn{u, c} {
		if _, err := roundTrip(conn, "before", 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	p.Cut(UDP, true)
	if _, err := roundTrip(u, "lost", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("UDP through a cut: %v", err)
	}
	if _, err := roundTrip(c, "other", 5*time.Second); err != nil {
		t.Errorf("TCP while UDP is cut: %v", err)
	}
	p.Cut(TCP, true)
	if _, err := roundTrip(c, "held", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("TCP through a cut: %v", err)
	}
	p.Cut(TCP, false)
	buf := make([]byte, 4)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "held" {
		t.Errorf("TCP after the cut: %q, %v", buf, err)
	}
	p.Cut(UDP, false)
	if _, err := roundTrip(u, "after", 5*time.Second); err != nil {
		t.Errorf("UDP after the cut: %v", err)
	}
	if s := p.Stats(); s.Lost == 0 || s.Flows != 1 || s.Conns != 1 {
		t.Errorf("stats %+v: want a loss, one flow, one connection", s)
	}
}

func TestOneWayCut(t *testing.T) {
	p := start(t, Config{})
	u := dial(t, "udp", p)
	p.Set(UDP, Way{}, Way{Cut: true})
	if _, err := roundTrip(u, "x", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answer through a cut: %v", err)
	}
	if s := p.Stats(); s.Packets != 1 || s.Lost != 1 {
		t.Errorf("stats %+v: want the request passed and the answer lost", s)
	}
}

func TestLossIsRepeatable(t *testing.T) {
	lost := func() uint64 {
		p := start(t, Config{Seed: 7})
		p.Set(UDP, Way{Loss: 0.5}, Way{})
		u := dial(t, "udp", p)
		for range 100 {
			if _, err := u.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(5 * time.Second); ; {
			s := p.Stats()
			if s.Lost+s.Packets >= 200-s.Lost || time.Now().After(deadline) { // answers count too
				return s.Lost
			}
			time.Sleep(time.Millisecond)
		}
	}
	a, b := lost(), lost()
	if a != b || a < 20 || a > 80 {
		t.Errorf("lost %d and %d of 100 with the same seed at 50 %%", a, b)
	}
}

func TestUDPQueueIsBounded(t *testing.T) {
	p := start(t, Config{QueueBytes: 1000})
	p.Set(UDP, Way{Delay: time.Hour}, Way{})
	u := dial(t, "udp", p)
	for range 5 {
		if _, err := u.Write(make([]byte, 400)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); p.Stats().Overflow != 3; {
		if time.Now().After(deadline) {
			t.Fatalf("stats %+v: want 3 of 5 over the bound", p.Stats())
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTCPCarriesEverythingAndFIN(t *testing.T) {
	p := start(t, Config{QueueBytes: 64 << 10})
	p.SetRoundTrip(2 * time.Millisecond)
	c := dial(t, "tcp", p).(*net.TCPConn)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
}

func TestKill(t *testing.T) {
	p := start(t, Config{})
	u, c := dial(t, "udp", p), dial(t, "tcp", p)
	for _, conn := range []net.Conn{u, c} {
		if _, err := roundTrip(conn, "before", 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Kill(); n != 2 {
		t.Errorf("killed %d, want the flow and the connection", n)
	}
	if _, err := roundTrip(c, "x", 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("TCP after Kill: %v, want a reset", err)
	}
	if _, err := roundTrip(u, "after", 5*time.Second); err != nil {
		t.Errorf("UDP after Kill: %v", err)
	}
	if _, err := roundTrip(dial(t, "tcp", p), "new", 5*time.Second); err != nil {
		t.Errorf("new TCP connection after Kill: %v", err)
	}
}
