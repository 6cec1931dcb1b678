package wan

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// world runs f with a network in virtual time.
func world(t *testing.T, cfg NetworkConfig, f func(*testing.T, *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(cfg)
		defer n.Close()
		f(t, n)
	})
}

// pair opens a socket at each of two places.
func pair(t *testing.T, n *Network) (a, b *PacketConn) {
	t.Helper()
	var err error
	if a, err = n.Place("a").ListenPacket(0, ""); err != nil {
		t.Fatal(err)
	}
	if b, err = n.Place("b").ListenPacket(443, "raft"); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func send(t *testing.T, from, to *PacketConn, data string) {
	t.Helper()
	if n, err := from.WriteTo([]byte(data), to.LocalAddr()); err != nil || n != len(data) {
		t.Fatalf("WriteTo: %d, %v", n, err)
	}
}

// drain returns what comes within d.
func drain(t *testing.T, c *PacketConn, d time.Duration) (got []string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	buf := make([]byte, 64<<10)
	for {
		n, _, err := c.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(buf[:n]))
	}
}

// burst sends 1000 numbered datagrams of 8 bytes.
func burst(t *testing.T, from, to *PacketConn) {
	t.Helper()
	for i := range 1000 {
		send(t, from, to, fmt.Sprintf("%08d", i))
	}
}

func TestDatagramTakesItsDelay(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Change("a", "b", func(w *Way) { w.Delay = 70 * time.Millisecond })
		begin := time.Now()
		send(t, a, b, "x")
		buf := make([]byte, 9)
		k, from, err := b.ReadFrom(buf)
		if err != nil || string(buf[:k]) != "x" || from.String() != a.LocalAddr().String() {
			t.Fatalf("%q from %v, %v", buf[:k], from, err)
		}
		if took := time.Since(begin); took != 70*time.Millisecond {
			t.Errorf("there: %v, want 70 ms", took)
		}
		begin = time.Now()
		send(t, b, a, "y") // the other way has no delay
		if _, _, err := a.ReadFrom(buf); err != nil || time.Since(begin) != 0 {
			t.Errorf("back: %v, %v", time.Since(begin), err)
		}
	})
}

func TestJitterKeepsOrder(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Change("a", "b", func(w *Way) { w.Delay, w.Jitter = time.Millisecond, 50*time.Millisecond })
		burst(t, a, b)
		got := drain(t, b, time.Second)
		if len(got) != 1000 || !slices.IsSorted(got) {
			t.Errorf("%d of 1000, in order: %v", len(got), slices.IsSorted(got))
		}
	})
}

func TestFaultsStrikeTheirShare(t *testing.T) {
	count := func(seed uint64, w Way) (got []string) {
		world(t, NetworkConfig{Seed: seed}, func(t *testing.T, n *Network) {
			a, b := pair(t, n)
			n.Set("a", "b", UDP, w)
			for i := range 1000 {
				send(t, a, b, fmt.Sprintf("%08d", i))
				time.Sleep(1500 * time.Microsecond) // never at the instant when a late one comes
			}
			got = drain(t, b, time.Minute)
		})
		return got
	}
	for _, c := range []struct {
		name string
		way  Way
		bad  func([]string) int
	}{
		{"loss", Way{Loss: 0.2}, func(s []string) int { return 1000 - len(s) }},
		{"duplicate", Way{Duplicate: 0.2}, func(s []string) int { return len(s) - 1000 }},
		{"reorder", Way{Reorder: 0.2}, func(s []string) (n int) {
			for i := 1; i < len(s); i++ {
				if s[i] < s[i-1] {
					n++
				}
			}
			return n
		}},
		{"corrupt", Way{Corrupt: 0.2}, func(s []string) (n int) {
			for i, x := range s {
				if want := fmt.Sprintf("%08d", i); x != want {
					n++
					var bits int
					for j := range want {
						for d := x[j] ^ want[j]; d != 0; d &= d - 1 {
							bits++
						}
					}
					if bits != 1 {
						t.Errorf("%q became %q: %d bits", want, x, bits)
					}
				}
			}
			return n
		}},
	} {
		first := count(1, c.way)
		if n := c.bad(first); n < 130 || n > 270 {
			t.Errorf("%s: %d of 1000 at 20 %%", c.name, n)
		}
		if !slices.Equal(first, count(1, c.way)) {
			t.Errorf("%s: the same seed gave something else", c.name)
		}
		if slices.Equal(first, count(2, c.way)) {
			t.Errorf("%s: another seed gave the same", c.name)
		}
	}
}

func TestBandwidthAndItsQueue(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Change("a", "b", func(w *Way) { w.Bandwidth = 10_000 }) // a datagram of 1000 bytes takes 100 ms
		begin := time.Now()
		for range 10 {
			send(t, a, b, string(make([]byte, 1000)))
		}
		// The fourth would wait for 300 ms, longer than a queue may be.
		got := drain(t, b, time.Second)
		if len(got) != 3 || time.Since(begin) != time.Second {
			t.Errorf("%d came, want 3", len(got))
		}
		tr := n.Traffic()[0]
		if tr.Packets != 3 || tr.Bytes != 3000 || tr.Overflow != 7 || tr.Lost != 0 {
			t.Errorf("%+v", tr)
		}
	})
}

func TestMTUAndCuts(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Change("a", "b", func(w *Way) { w.MTU, w.Delay = 1200, 10*time.Millisecond })
		send(t, a, b, string(make([]byte, 1201)))
		send(t, a, b, string(make([]byte, 1200)))
		if got := drain(t, b, time.Second); len(got) != 1 || len(got[0]) != 1200 {
			t.Errorf("%d came through an MTU", len(got))
		}
		send(t, a, b, "under way")
		n.CutWay("a", "b", true)
		send(t, a, b, "into the cut")
		send(t, b, a, "against it")
		if got := drain(t, b, time.Second); len(got) != 0 {
			t.Errorf("%q through a cut", got)
		}
		if got := drain(t, a, time.Second); len(got) != 1 {
			t.Errorf("%q the other way", got)
		}
		n.Isolate("b", true)
		send(t, b, a, "x")
		n.Isolate("b", false)
		send(t, a, b, "healed")
		if got := drain(t, b, time.Second); len(got) != 1 {
			t.Errorf("%q after the cut", got)
		}
		if w, _ := n.pipe("a", "b", UDP).now(); w.MTU != 1200 {
			t.Error("a cut forgot the MTU")
		}
		if got := drain(t, a, time.Second); len(got) != 0 {
			t.Errorf("%q from an isolated place", got)
		}
	})
}

func TestTrafficByPairAndKind(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		other, err := n.Place("b").ListenPacket(444, "links")
		if err != nil {
			t.Fatal(err)
		}
		send(t, a, b, "12345")
		send(t, a, other, "123")
		send(t, a, other, "123")
		send(t, b, a, "1")
		if _, err := a.WriteTo([]byte("x"), n.Place("b").Addr(9)); err != nil { // nobody is there
			t.Fatal(err)
		}
		want := []Traffic{
			{"a", "b", UDP, "links", 2, 6, 0, 0},
			{"a", "b", UDP, "raft", 1, 5, 0, 0},
			{"a", "b", UDP, "udp", 0, 0, 1, 0},
			{"b", "a", UDP, "raft", 1, 1, 0, 0}, // a has no kind, so the sender's counts
		}
		if got := n.Traffic(); !slices.Equal(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	})
}

func TestSocketIsBounded(t *testing.T) {
	world(t, NetworkConfig{QueueBytes: 1000}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		for range 3 {
			send(t, a, b, string(make([]byte, 400))) // nobody reads
		}
		n.Change("a", "b", func(w *Way) { w.Delay = time.Hour })
		for range 3 {
			send(t, a, b, string(make([]byte, 400)))
		}
		if tr := n.Traffic()[0]; tr.Packets != 2 || tr.Overflow != 2 {
			t.Errorf("%+v: want the third unread and the third under way refused", tr)
		}
		if _, err := a.WriteTo(make([]byte, 70_000), b.LocalAddr()); err == nil {
			t.Error("a datagram larger than UDP's largest was taken")
		}
	})
}

func TestSocketsCloseAndAddresses(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		if _, err := n.Place("b").ListenPacket(443, ""); err == nil {
			t.Error("a port was given twice")
		}
		if _, err := a.WriteTo(nil, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}); err == nil {
			t.Error("sent to no place")
		}
		failed := make(chan error)
		go func() {
			_, _, err := b.ReadFrom(nil)
			failed <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read from a closed socket: %v", err)
		}
		if _, err := b.WriteTo(nil, a.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write to a closed socket: %v", err)
		}
		again, err := n.Place("b").ListenPacket(443, "")
		if err != nil {
			t.Fatal(err)
		}
		send(t, a, again, "x")
		if got := drain(t, again, 0); len(got) != 0 {
			t.Error("a deadline in the past waits for nothing")
		}
		if got := drain(t, again, 1); len(got) != 1 || !bytes.Equal([]byte(got[0]), []byte("x")) {
			t.Errorf("%q at a port that was taken again", got)
		}
	})
}
