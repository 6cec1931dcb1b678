package wan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// streams opens a listener at b that returns what it gets, and a connection from a.
func streams(t *testing.T, n *Network) net.Conn {
	t.Helper()
	l, err := n.Place("b").Listen(80, "admin")
	if err != nil {
		t.Fatal(err)
	}
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
	c, err := n.Place("a").DialContext(t.Context(), "tcp", "b:80")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStreamTakesItsDelay(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		n.Both("a", "b", func(w *Way) { w.Delay, w.Jitter = 50*time.Millisecond, 0 })
		begin := time.Now()
		c := streams(t, n)
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("dialled in %v, want a round trip", took)
		}
		if took, err := roundTrip(c, "hello", time.Second); err != nil || took != 100*time.Millisecond {
			t.Errorf("round trip %v, %v", took, err)
		}
		n.CutWay("b", "a", true)
		if _, err := roundTrip(c, "held", time.Minute); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("through a cut: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Place("a").DialContext(ctx, "tcp", "b:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial through a cut: %v", err)
		}
		n.CutWay("b", "a", false)
		_ = c.SetReadDeadline(time.Time{})
		buf := make([]byte, 4)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "held" {
			t.Errorf("after the cut: %q, %v", buf, err)
		}
	})
}

func TestStreamKeepsItsBandwidth(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		c := streams(t, n)
		n.Change("a", "b", func(w *Way) { w.Bandwidth = 1 << 20 })
		sent := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
		begin := time.Now()
		go func() { _, _ = c.Write(sent) }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%v", err)
		}
		if took := time.Since(begin); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("4 MiB at 1 MiB/s took %v", took)
		}
	})
}

func TestStreamEndsAndResets(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		n.Both("a", "b", func(w *Way) { w.Delay = 10 * time.Millisecond })
		l, err := n.Place("b").Listen(0, "")
		if err != nil {
			t.Fatal(err)
		}
		dial := func() (client, server net.Conn) {
			client, err := n.Place("a").DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if server, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			if server.RemoteAddr().String() != client.LocalAddr().String() {
				t.Errorf("addresses %v and %v", server.RemoteAddr(), client.LocalAddr())
			}
			return client, server
		}
		client, server := dial()
		go func() {
			_, _ = client.Write([]byte("all of it"))
			client.Close()
		}()
		if got, err := io.ReadAll(server); err != nil || string(got) != "all of it" {
			t.Errorf("%q, %v", got, err)
		}
		time.Sleep(time.Second)
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read after the end: %v", err)
		}

		_, server = dial()
		if k := n.Kill("b", "a"); k != 1 {
			t.Errorf("killed %d", k)
		}
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after Kill: %v", err)
		}
		l.Close()
		if _, err := n.Place("a").DialContext(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial where nobody listens: %v", err)
		}
		if _, err := n.Place("a").DialContext(t.Context(), "tcp", "nowhere:1"); err == nil {
			t.Error("dialled no place")
		}
		if _, err := n.Place("a").DialContext(t.Context(), "udp", l.Addr().String()); err == nil {
			t.Error("dialled TCP as udp")
		}
	})
}

func TestWriterWaitsForReader(t *testing.T) {
	world(t, NetworkConfig{QueueBytes: 64 << 10}, func(t *testing.T, n *Network) {
		l, err := n.Place("b").Listen(80, "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Place("a").DialContext(t.Context(), "tcp", "b:80")
		if err != nil {
			t.Fatal(err)
		}
		_ = l
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		k, err := c.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || k < 64<<10 || k > 128<<10 {
			t.Errorf("wrote %d of 1 MiB, %v, though nobody reads", k, err)
		}
		synctest.Wait()
	})
}

func TestBacklogIsBounded(t *testing.T) {
	world(t, NetworkConfig{}, func(t *testing.T, n *Network) {
		if _, err := n.Place("b").Listen(80, ""); err != nil {
			t.Fatal(err)
		}
		for i := range backlog + 1 {
			_, err := n.Place("a").DialContext(t.Context(), "tcp", "b:80")
			if full := i == backlog; full != errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	})
}
