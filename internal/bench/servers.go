package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meridian-relay/meridian/internal/bench/baseline"
	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/bench/meter"
	"github.com/meridian-relay/meridian/relay/wire"
)

// path is where both servers accept sessions.
const path = "/v1/session"

// baselineServer is the child that runs the baseline.
type baselineServer struct {
	conn    *meter.Conn
	server  *baseline.Server
	running sync.WaitGroup
	quiet   context.CancelFunc
	profiler
}

func (b *baselineServer) handle(ctx context.Context, r request) (a answer, err error) {
	if r.Do != "listen" && b.server == nil {
		return a, fmt.Errorf("%s before listen", r.Do)
	}
	switch r.Do {
	case "listen":
		cert, err := certificate()
		if err != nil {
			return a, err
		}
		if b.conn, err = meter.Listen(); err != nil {
			return a, err
		}
		b.server = baseline.New(baseline.Config{
			TLS:  &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h3"}},
			Conn: b.conn, Path: path, FlowControl: r.Listen.FlowControl,
		})
		b.running.Go(func() { _ = b.server.Serve() })
		a.Ready = &ready{Addr: b.conn.LocalAddr().String(), Path: path}
	case "publish":
		b.stop()
		frame, timeAt := messageFrame(*r.Source)
		ctx, b.quiet = context.WithCancel(ctx)
		if r.Source.Rate == 0 {
			b.running.Go(func() { b.server.Flood(ctx, frame) })
			break
		}
		b.running.Go(func() { b.server.Pace(ctx, frame, timeAt, r.Source.Rate) })
	case "quiet":
		b.stop()
	case "profile":
		return a, b.profile(r.File)
	case "usage":
		u, err := meter.Take(b.conn, r.Collect)
		a.Usage = &u
		return a, err
	default:
		return a, errUnknown
	}
	return a, nil
}

func (b *baselineServer) stop() {
	if b.quiet != nil {
		b.quiet()
		b.quiet = nil
	}
}

func (b *baselineServer) close() {
	if b.server == nil {
		return
	}
	b.stop()
	_ = b.server.Close()
	_ = b.conn.Close()
	b.running.Wait()
}

// messageFrame returns the bytes that a relay would send for one message of the source, and
// where in them the time stands.
func messageFrame(src load.Source) (frame []byte, timeAt int) {
	payload := load.AppendPayload(nil, src.Class, src.Size)
	body := protowire.AppendTag(nil, 1, protowire.BytesType)
	body = protowire.AppendBytes(body, payload)
	rest := wire.AppendStamp(nil, "bench", uint64(time.Now().UnixMilli()))
	epoch := uint64(time.Now().UnixMilli()) // as a home has them
	frame = wire.AppendMessage(nil, 1, epoch, 100_000, append(body, rest...))
	return frame, len(frame) - len(rest) - len(payload)
}

// certificate returns a self-signed one for 127.0.0.1.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate key: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "meridian bench"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
