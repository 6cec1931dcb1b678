package wan

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMeasuredRoundTrips(t *testing.T) {
	rows := strings.Count(regionRTT, "\n") - 4 // three of comment, one of names
	if got := len(measured()); got != 2*rows+len(Regions()) || len(Regions()) != 11 {
		t.Errorf("%d ways between %d regions from %d rows", got, len(Regions()), rows)
	}
	a, _ := RoundTrip("frankfurt", "dallas")
	b, _ := RoundTrip("dallas", "frankfurt")
	if a != b || a != 123*time.Millisecond {
		t.Errorf("dallas to frankfurt: %v and %v", a, b)
	}
	if in, _ := RoundTrip("tokyo", "tokyo"); in != withinRegion {
		t.Errorf("within a region: %v", in)
	}
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		if err := n.Measured(map[string]string{"a": "dallas", "b": "frankfurt"}); err != nil {
			t.Fatal(err)
		}
		c := streams(t, n)
		if took, err := roundTrip(c, "x", time.Second); err != nil || took != 123*time.Millisecond {
			t.Errorf("round trip %v, %v", took, err)
		}
		err := n.Measured(map[string]string{"a": "dallas", "b": "mars"})
		if err == nil || !strings.Contains(err.Error(), "mars") || !strings.Contains(err.Error(), "tokyo") {
			t.Errorf("a region that is none: %v", err)
		}
	})
}

// TestPathOfANetwork is about separate processes: what happens to two places happens to the path.
func TestPathOfANetwork(t *testing.T) {
	n := New(NetworkConfig{})
	defer n.Close()
	p, err := n.Open("a", "b", Config{Server: echo(t), Kind: "peers"})
	if err != nil {
		t.Fatal(err)
	}
	runPath(t, p)
	u, c := dial(t, "udp", p), dial(t, "tcp", p)
	n.Both("a", "b", func(w *Way) { w.Delay = 20 * time.Millisecond })
	for _, conn := range []net.Conn{u, c} {
		if took, err := roundTrip(conn, "slow", 5*time.Second); err != nil || took < 40*time.Millisecond {
			t.Errorf("%v, %v; want 40 ms or more", took, err)
		}
	}
	n.CutWay("b", "a", true)
	for _, conn := range []net.Conn{u, c} {
		if _, err := roundTrip(conn, "lost", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("answer through a cut: %v", err)
		}
	}
	n.Heal()
	if _, err := roundTrip(u, "back", 5*time.Second); err != nil {
		t.Error(err)
	}
	for _, tr := range n.Traffic() {
		if tr.Kind == "peers" && (tr.Packets == 0 || tr.Bytes == 0) {
			t.Errorf("%+v", tr)
		}
	}
	// The last one is counted once it was handed on.
	s := p.Stats()
	for end := time.Now().Add(5 * time.Second); s.Packets < 5 && time.Now().Before(end); s = p.Stats() {
		time.Sleep(time.Millisecond)
	}
	if s.Packets < 5 || s.Lost != 1 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestPathShapes(t *testing.T) {
	p := start(t, Config{Seed: 3})
	u := dial(t, "udp", p)
	p.Set(UDP, Way{MTU: 100}, Way{Duplicate: 1, Corrupt: 1})
	if _, err := roundTrip(u, strings.Repeat("x", 101), 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("larger than the MTU: %v", err)
	}
	if _, err := u.Write([]byte("twice")); err != nil {
		t.Fatal(err)
	}
	_ = u.SetReadDeadline(time.Now().Add(5 * time.Second))
	for range 2 {
		buf := make([]byte, 10)
		k, err := u.Read(buf)
		if err != nil || k != 5 || bytes.Equal(buf[:k], []byte("twice")) {
			t.Errorf("%q, %v; want one bit wrong", buf[:k], err)
		}
	}
	c := dial(t, "tcp", p)
	p.Set(TCP, Way{Bandwidth: 1 << 20, Queue: 20 * time.Millisecond}, Way{})
	sent := make([]byte, 256<<10)
	begin := time.Now()
	go func() { _, _ = c.Write(sent) }()
	_ = c.SetReadDeadline(begin.Add(10 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, len(sent))); err != nil || time.Since(begin) < 200*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %v, %v", time.Since(begin), err)
	}
}
