package transport

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/meridian-relay/meridian/relay"
)

func mustClose(t *testing.T, err error, want relay.CloseError) {
	t.Helper()
	e, ok := errors.AsType[*relay.CloseError](err)
	if !ok || *e != want {
		t.Fatalf("error %v (%T); want %v", err, err, &want)
	}
}

func ended(t *testing.T, s relay.Session) error {
	t.Helper()
	receive(t, s.Context().Done())
	return context.Cause(s.Context())
}

func testClose(t *testing.T, p pair, from, to relay.Session) {
	from.Close(relay.Revoked, "an operator: ü")
	from.Close(relay.Done, "the second does not count")
	mustClose(t, ended(t, from), relay.CloseError{Code: relay.Revoked, Reason: "an operator: ü"})
	mustClose(t, ended(t, to), relay.CloseError{Code: relay.Revoked, Reason: "an operator: ü", Remote: true})
	to.Close(relay.Busy, "late")
	mustClose(t, ended(t, to), relay.CloseError{Code: relay.Revoked, Reason: "an operator: ü", Remote: true})
	if _, err := to.Accept(soon(t)); err == nil {
		t.Fatal("Accept after the end")
	}
	if _, err := from.OpenUni(); err == nil || errors.Is(err, relay.ErrNoStreams) {
		t.Fatalf("OpenUni after the end: %v", err)
	}
	if p.ended != nil {
		receive(t, p.ended) // the connection ends with its session
	}
}

func testCloseByClient(t *testing.T, c carrierCase) {
	p := c.open(t)
	testClose(t, p, p.client, p.server)
}

func testCloseByServer(t *testing.T, c carrierCase) {
	p := c.open(t)
	testClose(t, p, p.server, p.client)
}

func testCloseWakes(t *testing.T, c carrierCase) {
	p := c.open(t)
	client, server := p.streams(t)
	errs := make(chan error, 16)
	n := 0
	block := func(f func() error) { n++; go func() { errs <- f() }() }
	block(func() error { _, err := server.Read(make([]byte, 1)); return err })
	block(func() error { _, err := client.Read(make([]byte, 1)); return err })
	block(func() error {
		for {
			if _, err := client.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	})
	for _, s := range []relay.Session{p.client, p.server} {
		block(func() error { _, err := s.Accept(context.Background()); return err })
		block(func() error { _, err := s.AcceptUni(context.Background()); return err })
	}
	if c.datagrams {
		block(func() error { _, err := p.server.ReceiveDatagram(context.Background()); return err })
	}
	// server.Read gets some of what is written: take it all until the end.
	go func() { time.Sleep(20 * time.Millisecond); p.server.Close(relay.Internal, "fault") }()
	for range n {
		err := receive(t, errs)
		if err == nil {
			continue // that Read
		}
		e, ok := errors.AsType[*relay.CloseError](err)
		if !ok || e.Code != relay.Internal || e.Reason != "fault" {
			t.Errorf("error %v (%T)", err, err)
		}
	}
}

func testCloseReason(t *testing.T, c carrierCase) {
	p := c.open(t)
	p.client.Close(relay.Protocol, "xx"+strings.Repeat("é", 300)+"\xff")
	e, ok := errors.AsType[*relay.CloseError](ended(t, p.server))
	if !ok || e.Code != relay.Protocol || !e.Remote {
		t.Fatalf("%v", ended(t, p.server))
	}
	if len(e.Reason) > maxReason || len(e.Reason) < maxReason-1 || !utf8.ValidString(e.Reason) {
		t.Fatalf("reason of %d bytes: %q", len(e.Reason), e.Reason)
	}
}

func testDatagrams(t *testing.T, c carrierCase) {
	p := c.open(t)
	if !c.datagrams {
		if err := p.client.SendDatagram([]byte("x")); !errors.Is(err, relay.ErrNoDatagrams) {
			t.Errorf("SendDatagram: %v", err)
		}
		if _, err := p.server.ReceiveDatagram(soon(t)); !errors.Is(err, relay.ErrNoDatagrams) {
			t.Errorf("ReceiveDatagram: %v", err)
		}
		return
	}
	for _, ends := range [][2]relay.Session{{p.client, p.server}, {p.server, p.client}} {
		b := slices.Repeat([]byte("d"), 1100) // the protocol's largest
		if err := ends[0].SendDatagram(b); err != nil {
			t.Fatal(err)
		}
		b[0] = 'x' // it was copied
		got, err := ends[1].ReceiveDatagram(soon(t))
		if err != nil || string(got) != strings.Repeat("d", 1100) {
			t.Fatalf("%q, %v", got, err)
		}
		if err := ends[0].SendDatagram(make([]byte, 60_000)); !errors.Is(err, relay.ErrDatagramTooLarge) {
			t.Fatalf("oversize: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := ends[1].ReceiveDatagram(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled: %v", err)
		}
	}
}

func testIdentity(t *testing.T, c carrierCase) {
	p := c.open(t)
	kind, _, _ := strings.Cut(string(c.name), ",")
	for _, s := range []relay.Session{p.client, p.server} {
		peer := s.Peer()
		if string(peer.Carrier) != kind || peer.Addr.Addr() != netip.MustParseAddr("127.0.0.1") || peer.Addr.Port() == 0 {
			t.Errorf("peer %+v", peer)
		}
		if peer.Origin != "" {
			t.Errorf("origin %q", peer.Origin)
		}
	}
	var client, server []string // the names that each side has
	switch {
	case c.name == relay.QUIC:
		client, server = []string{"meridian://edge-7", "edge-7.example"}, []string{"meridian://node-1", "localhost"}
	case !strings.Contains(string(c.name), "plain"):
		server = []string{"localhost"}
	}
	if got := p.server.Peer().Names; !slices.Equal(got, client) {
		t.Errorf("the client's names are %q; want %q", got, client)
	}
	if got := p.client.Peer().Names; !slices.Equal(got, server) {
		t.Errorf("the server's names are %q; want %q", got, server)
	}
}

func testAcceptGivesUp(t *testing.T, c carrierCase) {
	p := c.open(t)
	p.streams(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := p.server.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := p.client.AcceptUni(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("AcceptUni: %v", err)
	}
	if _, err := p.client.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	if err := context.Cause(p.server.Context()); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

func testVanish(t *testing.T, c carrierCase) {
	if c.variant {
		return
	}
	p := c.open(t)
	_, server := p.streams(t)
	p.vanish()
	_, err := server.Read(make([]byte, 1))
	e, ok := errors.AsType[*relay.CloseError](err)
	if !ok || e.Code != relay.LinkLost {
		t.Fatalf("error %v (%T)", err, err)
	}
	mustClose(t, ended(t, p.server), *e)
}
