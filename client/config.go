package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const maxAgent = 128 // bytes

// Config says how a Client connects and what it may hold. The zero value works where the relay
// takes sessions without a token.
type Config struct {
	// Token is presented with Hello. Empty: none.
	Token string
	// TokenSource fetches a token; it is asked before the first session, before a token runs
	// out, and when the relay refuses one. It gets 10 s each time. Nil: Token, for ever.
	TokenSource func(ctx context.Context) (string, error)
	// TLS holds roots and a server name. Nil: the system's roots.
	TLS *tls.Config
	// CertHashes are SHA-256 hashes of certificates that are trusted without a root, as a
	// browser's serverCertificateHashes. None: certificates are verified against roots.
	CertHashes [][32]byte
	// Carriers in the order to try them. None: WebTransport, then WebSocket.
	Carriers []relay.Carrier
	// Agent names the program to the relay's operator, at most 128 B. Empty: "meridian-go".
	Agent string
	// Lanes is how many subscriptions can have a stream of their own. 0: 100; below 0: none.
	Lanes int
	// Window is how many bytes of messages each subscription may have on the way and unread.
	// 0: 64 KiB.
	Window int
	// Unanswered bounds the bytes of all publishes without an answer, 256 B each added for
	// what they cost besides. Past it publishing waits. 0: 8 MiB.
	Unanswered int
	// BackoffLeast and BackoffMost bound the wait between attempts to connect: after the n-th
	// failure it is uniform between 0 and BackoffLeast × 2^(n-1), at most BackoffMost.
	// 0: 250 ms and 30 s.
	BackoffLeast, BackoffMost time.Duration
	// Log gets what an operator of the client may want to know. Nil: nothing.
	Log *slog.Logger

	dial dialFunc // replaces the network, in tests
}

// check returns c with defaults, or why it cannot work.
func (c Config) check(rawURL string) (Config, *url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, nil, fmt.Errorf("relay URL %q: %w", rawURL, err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return c, nil, fmt.Errorf("relay URL %q: write https://HOST:PORT (or http:// for WebSocket without TLS)", rawURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return c, nil, fmt.Errorf("relay URL %q: only scheme, host and port; a token goes into Config.Token", u.Redacted())
	}
	if len(c.Carriers) == 0 {
		c.Carriers = []relay.Carrier{relay.WebTransport, relay.WebSocket}
	}
	if u.Scheme == "http" {
		if !slices.Contains(c.Carriers, relay.WebSocket) {
			return c, nil, fmt.Errorf("relay URL %q: without TLS there is only WebSocket; add it to Carriers", rawURL)
		}
		c.Carriers = []relay.Carrier{relay.WebSocket}
	}
	for _, k := range c.Carriers {
		if k != relay.WebTransport && k != relay.WebSocket {
			return c, nil, fmt.Errorf("carrier %q: a client has %q and %q", k, relay.WebTransport, relay.WebSocket)
		}
	}
	if len(c.Agent) > maxAgent {
		return c, nil, fmt.Errorf("agent of %d bytes: at most %d", len(c.Agent), maxAgent)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{{"Unanswered", int64(c.Unanswered)}, {"BackoffLeast", int64(c.BackoffLeast)}, {"BackoffMost", int64(c.BackoffMost)}} {
		if f.value < 0 {
			return c, nil, fmt.Errorf("%s is %d: it must not be below 0", f.name, f.value)
		}
	}
	setZero(&c.Agent, "meridian-go")
	setZero(&c.Lanes, 100)
	setZero(&c.Window, 64<<10)
	setZero(&c.Unanswered, 8<<20)
	setZero(&c.BackoffLeast, 250*time.Millisecond)
	setZero(&c.BackoffMost, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, u, nil
}

// setZero sets *p to v if it is zero.
func setZero[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
