package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// Without a certificate of the fleet's authority nobody gets a session.
func TestPeerNeedsCertificate(t *testing.T) {
	t.Parallel()
	p := newPeerStage(t, nil)
	stranger := newAuthority(t)
	for name, certs := range map[string][]tls.Certificate{
		"none": nil, "of another authority": {stranger.sign(t, nil)},
	} {
		d := p.dialer(func(c *DialerConfig) {
			c.TLS.Certificates = nil
			// The client's choice, so that one of the wrong authority is sent at all.
			c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(certs) == 0 {
					return new(tls.Certificate), nil
				}
				return &certs[0], nil
			}
		})
		c, err := d.QUIC(soon(t), p.addr)
		if err == nil { // the client may learn of it an instant later
			err = ended(t, c)
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case s := <-p.sessions:
		t.Fatalf("a session with %+v", s.Peer())
	default:
	}
}

// The fleet's port speaks no other protocol.
func TestPeerNeedsALPN(t *testing.T) {
	t.Parallel()
	p := newPeerStage(t, nil)
	d := p.dialer(nil)
	if _, err := d.WebTransport(soon(t), "https://"+p.addr+SessionPath); err == nil {
		t.Fatal("WebTransport on the port of peers")
	}
}

func TestPeerStop(t *testing.T) {
	t.Parallel()
	p := newPeerStage(t, nil)
	c, err := p.dialer(nil).QUIC(soon(t), p.addr)
	if err != nil {
		t.Fatal(err)
	}
	receive(t, p.sessions)
	p.stop()
	e, ok := errors.AsType[*relay.CloseError](ended(t, c))
	if !ok || e.Code != relay.GoingAway || !e.Remote {
		t.Fatalf("%v", e)
	}
}
