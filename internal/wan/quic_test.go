package wan_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/internal/wan"
	"github.com/meridian-relay/meridian/relay"
)

// TestQUICInVirtualTime is about real QUIC sessions over the worst of networks that they bear.
func TestQUICInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wan.New(wan.NetworkConfig{Seed: 1})
		defer n.Close()
		n.Both("a", "b", func(w *wan.Way) {
			*w = wan.Way{
				Delay: 40 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.02, Reorder: 0.02,
				Duplicate: 0.02, Corrupt: 0.02, Bandwidth: 4 << 20, MTU: 1400,
			}
		})
		cert, pool := certificate(t)
		at, err := n.Place("b").ListenPacket(443, "peers")
		if err != nil {
			t.Fatal(err)
		}
		server, err := transport.NewPeerServer(transport.PeerConfig{
			TLS: &tls.Config{
				Certificates: []tls.Certificate{cert}, ClientCAs: pool,
				ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
			},
			PacketConn: at,
			Serve: func(ctx context.Context, s relay.Session) { // returns what it gets
				stream, err := s.Accept(ctx)
				if err != nil {
					return
				}
				_, _ = io.Copy(stream, stream)
				stream.Close()
				<-ctx.Done()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- server.Run(ctx) }()

		from, err := n.Place("a").ListenPacket(0, "")
		if err != nil {
			t.Fatal(err)
		}
		d, err := transport.NewDialer(transport.DialerConfig{
			TLS: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool}, AnyHost: true, PacketConn: from,
		})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		s, err := d.QUIC(ctx, at.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		stream, err := s.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		sent := make([]byte, 1<<20)
		_, _ = rand.Read(sent)
		go func() {
			_, _ = stream.Write(sent)
			stream.Close()
		}()
		got, err := io.ReadAll(stream)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
		}
		if took := time.Since(begin); took < 500*time.Millisecond || took > time.Minute {
			t.Errorf("1 MiB there and back took %v", took)
		}
		for _, tr := range n.Traffic() {
			if tr.Kind != "peers" || tr.Lost == 0 || tr.Bytes < 1<<20 {
				t.Errorf("%+v", tr)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// certificate returns one that signs itself, for both sides.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"node"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
