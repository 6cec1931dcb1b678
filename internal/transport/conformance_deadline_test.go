package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// fill writes until a write does not end within its deadline, and returns how much was taken.
func fill(t *testing.T, w relay.SendStream) int {
	t.Helper()
	total := 0
	for total < 64<<20 {
		_ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		b := pattern(100_000, total)
		n, err := w.Write(b)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if n >= len(b) {
				t.Fatalf("Write took all %d bytes, and said %v", n, err)
			}
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("64 MiB were taken without a reader")
	return 0
}

func testWriteDeadline(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	total := fill(t, client)
	// It stays so.
	if n, err := client.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write past the deadline = %d, %v", n, err)
	}
	read := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(server)
		if err != nil {
			t.Error(err)
		}
		read <- b
	}()
	// Then it goes on where it was.
	_ = client.SetWriteDeadline(time.Time{})
	if n, err := client.Write(pattern(300_000, total)); n != 300_000 || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, read); !bytes.Equal(got, pattern(total+300_000, 0)) {
		t.Fatalf("%d bytes arrived of %d, or in disorder", len(got), total+300_000)
	}
}

func testWriteDeadlineWhileBlocked(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, _ := p.streams(t)
	fill(t, client)
	_ = client.SetWriteDeadline(time.Time{})
	done := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, 1<<20))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("Write ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	_ = client.SetWriteDeadline(time.Now())
	if err := receive(t, done); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func testCancelStuckWrite(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	fill(t, client)
	_ = client.SetWriteDeadline(time.Time{})
	done := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, 1<<20))
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	client.CancelWrite(relay.SlowReader)
	mustReset(t, receive(t, done), relay.SlowReader, false)
	_, err := io.Copy(io.Discard, server)
	mustReset(t, err, relay.SlowReader, true)
}

func testReadDeadline(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	b := make([]byte, 10)
	_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read: %v", err)
	}
	mustWrite(t, client, "later")
	if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read past the deadline: %v", err)
	}
	_ = server.SetReadDeadline(time.Time{})
	mustRead(t, server, "later")
	// And one that is set while Read waits.
	done := make(chan error, 1)
	go func() {
		_, err := server.Read(b)
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	_ = server.SetReadDeadline(time.Now())
	if err := receive(t, done); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Time{})
	mustWrite(t, client, "more")
	mustRead(t, server, "more")
}

// An idle session lives for longer than the idle timeout: the carrier keeps it alive.
func testIdleStays(t *testing.T, c carrierCase) {
	if c.variant {
		return
	}
	p := c.open(t)
	client, server := p.streams(t)
	time.Sleep(testIdle + testIdle/2)
	mustWrite(t, client, "still here")
	mustRead(t, server, "still here")
}

// A session whose one side does not read lives, too: that is the application's to judge.
func testUnreadStays(t *testing.T, c carrierCase) {
	if c.variant {
		return
	}
	p := c.open(t)
	client, server := p.streams(t)
	total := fill(t, client)
	time.Sleep(testIdle + testIdle/2)
	for _, s := range []relay.Session{p.client, p.server} {
		if err := context.Cause(s.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, total)
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, pattern(total, 0)) {
		t.Fatalf("%v, or in disorder", err)
	}
}
