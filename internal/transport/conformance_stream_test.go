package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// streams opens a stream at the client and returns both ends. first is what it takes to be seen.
func (p pair) streams(t *testing.T) (client, server relay.Stream) {
	t.Helper()
	client, err := p.client.Open(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, "first")
	server, err = p.server.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, server, "first")
	return client, server
}

func mustWrite(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

func mustRead(t *testing.T, r relay.ReceiveStream, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func mustEnd(t *testing.T, r relay.ReceiveStream) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("Read = %d, %v; want EOF", n, err)
	}
}

func mustReset(t *testing.T, err error, code relay.Code, remote bool) {
	t.Helper()
	e, ok := errors.AsType[*relay.StreamError](err)
	if !ok || e.Code != code || e.Remote != remote {
		t.Fatalf("error %v (%T); want a reset with %v, remote %v", err, err, code, remote)
	}
}

func testHalfClose(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	mustWrite(t, client, "up")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	mustRead(t, server, "up")
	mustEnd(t, server)
	mustEnd(t, server) // and again
	if _, err := client.Write([]byte("late")); err == nil {
		t.Fatal("Write after Close succeeded")
	}
	// The other half goes on.
	for range 3 {
		mustWrite(t, server, "down")
		mustRead(t, client, "down")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, client)
	if err := context.Cause(p.client.Context()); err != nil {
		t.Fatalf("the session ended with its stream: %v", err)
	}
}

func testReset(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	written := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, 8<<20))
		written <- err
	}()
	if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	client.CancelWrite(relay.Conflict)
	mustReset(t, receive(t, written), relay.Conflict, false)
	_, err := client.Write([]byte("late"))
	mustReset(t, err, relay.Conflict, false)
	n, err := io.Copy(io.Discard, server)
	mustReset(t, err, relay.Conflict, true)
	if n >= 8<<20 {
		t.Fatal("everything arrived")
	}
	mustWrite(t, server, "still here")
	mustRead(t, client, "still here")
}

func testStop(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	written := make(chan error, 1)
	go func() {
		for {
			if _, err := client.Write(make([]byte, 10_000)); err != nil {
				written <- err
				return
			}
		}
	}()
	if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	server.CancelRead(relay.TooLarge)
	mustReset(t, receive(t, written), relay.TooLarge, true)
	_, err := server.Read(make([]byte, 1))
	mustReset(t, err, relay.TooLarge, false)
	mustWrite(t, server, "still here")
	mustRead(t, client, "still here")
}

func testManyStreams(t *testing.T, c carrierCase) {
	if !c.many {
		t.Log("the carrier has one stream")
		return
	}
	p := c.open(t)
	const up, down = 16, 200
	var all sync.WaitGroup
	for i := range up {
		all.Go(func() {
			s, err := p.client.Open(soon(t))
			if err != nil {
				t.Error(err)
				return
			}
			b := bytes.Repeat([]byte{byte(i)}, 50_000)
			go func() { _, _ = s.Write(b); _ = s.Close() }()
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, b) {
				t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
			}
		})
		all.Go(func() {
			s, err := p.server.Accept(soon(t))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(s, s)
			_ = s.Close()
		})
	}
	for i := range down {
		all.Go(func() {
			s, err := p.server.OpenUni()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = s.Write(bytes.Repeat([]byte{byte(i)}, 5000))
			_ = s.Close()
		})
		all.Go(func() {
			s, err := p.client.AcceptUni(soon(t))
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(s)
			if err != nil || len(b) != 5000 || !bytes.Equal(b, bytes.Repeat(b[:1], 5000)) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
	all.Wait()
}

func testStreamLimit(t *testing.T, c carrierCase) {
	if !c.many {
		t.Log("the carrier has one stream")
		return
	}
	p := c.open(t)
	var open []relay.Stream
	for {
		s, err := p.client.Open(soon(t))
		if errors.Is(err, relay.ErrNoStreams) {
			break
		}
		if err != nil || len(open) > 30 {
			t.Fatalf("after %d: %v", len(open), err)
		}
		open = append(open, s)
	}
	if n := len(open); n < 16 || n > 16+httpBidi {
		t.Fatalf("%d streams; want 16", n)
	}
	var uni int
	for {
		if _, err := p.client.OpenUni(); errors.Is(err, relay.ErrNoStreams) {
			break
		} else if err != nil || uni > 30 {
			t.Fatalf("after %d: %v", uni, err)
		}
		uni++
	}
	if uni < 4 || uni > 4+httpUni {
		t.Fatalf("%d unidirectional streams; want 4", uni)
	}
	mustWrite(t, open[0], "fine")
	s, err := p.server.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, "fine")
}

func testStreamsBeforeAccept(t *testing.T, c carrierCase) {
	p := c.open(t)
	if !c.many {
		s, _ := p.client.Open(soon(t))
		mustWrite(t, s, "early")
		srv, err := p.server.Accept(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, srv, "early")
		return
	}
	for range 5 {
		s, err := p.client.Open(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, s, "early")
		_ = s.Close()
		u, err := p.server.OpenUni()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, u, "down")
		_ = u.Close()
	}
	for range 5 {
		s, err := p.server.Accept(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, "early")
		mustEnd(t, s)
		u, err := p.client.AcceptUni(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, u, "down")
		mustEnd(t, u)
	}
}

func testOneStream(t *testing.T, c carrierCase) {
	if c.many {
		t.Log("the carrier has many streams")
		return
	}
	p := c.open(t)
	p.streams(t)
	for _, s := range []relay.Session{p.client, p.server} {
		if _, err := s.Open(soon(t)); !errors.Is(err, relay.ErrNoStreams) {
			t.Errorf("Open: %v", err)
		}
		if _, err := s.OpenUni(); !errors.Is(err, relay.ErrNoStreams) {
			t.Errorf("OpenUni: %v", err)
		}
	}
}

func testBulk(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	b := pattern(3<<20, 0)
	go func() { _, _ = client.Write(b); _ = client.Close() }()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(b), err)
	}
}

// pattern makes bytes whose order shows.
func pattern(n, from int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((from + i) * 7 >> 3)
	}
	return b
}
