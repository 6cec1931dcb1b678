package client

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// A networkDialer opens sessions over the network for one client.
type networkDialer struct {
	cfg    Config
	dialer *transport.Dialer
	winner winner
}

func newDialer(cfg Config) (*networkDialer, error) {
	d, err := transport.NewDialer(transport.DialerConfig{
		TLS: cfg.TLS, CertHashes: cfg.CertHashes, UniStreams: cfg.Lanes,
	})
	if err != nil {
		return nil, err
	}
	return &networkDialer{
		cfg: cfg, dialer: d,
		winner: winner{carriers: cfg.Carriers, network: localNetwork},
	}, nil
}

func (d *networkDialer) close() { _ = d.dialer.Close() }

// dial lets the carriers race and says Hello on the winner.
func (d *networkDialer) dial(ctx context.Context, r dialRequest) (session, relay.Carrier, error) {
	head := headStart(r.rtt)
	if r.hurry {
		head = 0
	}
	s, err := race(ctx, d.winner.order(), head, func(ctx context.Context, k relay.Carrier) (relay.Session, error) {
		if k == relay.WebSocket {
			return d.dialer.WebSocket(ctx, sessionURL(r.url, k))
		}
		return d.dialer.WebTransport(ctx, sessionURL(r.url, k))
	})
	if err != nil {
		return nil, "", err
	}
	carrier := s.Peer().Carrier
	l, err := link.Connect(ctx, link.Config{
		Session: s, Token: r.token, Agent: d.cfg.Agent, Lanes: d.cfg.Lanes, OnGoAway: r.onGoAway,
	})
	if err != nil {
		return nil, "", err
	}
	d.winner.won(carrier)
	return l, carrier, nil
}

// isUntrusted reports whether err is of a server whose certificate does not verify: waiting
// does not mend that.
func isUntrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}
