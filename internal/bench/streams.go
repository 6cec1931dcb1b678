package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/internal/bench/baseline"
)

// streamServer is the child that serves bare QUIC streams.
type streamServer struct {
	stop func()
}

func (s *streamServer) handle(_ context.Context, r request) (a answer, err error) {
	if r.Do != "listen" || s.stop != nil {
		return a, errUnknown
	}
	cert, err := certificate()
	if err != nil {
		return a, err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = baseline.ServeStreams(ctx, conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	}()
	s.stop = func() {
		cancel()
		<-gone
		_ = conn.Close()
	}
	a.Ready = &ready{Addr: conn.LocalAddr().String()}
	return a, nil
}

func (s *streamServer) close() {
	if s.stop != nil {
		s.stop()
	}
}

// bareStreams publishes records over bare streams for d, as a drive does over sessions: so many
// streams on one connection each, with so many records unanswered.
func bareStreams(ctx context.Context, addr string, d drive) (driven, error) {
	ctx, cancel := context.WithTimeout(ctx, d.For+10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var total uint64
	var errs error
	began := time.Now()
	for range sessions {
		wg.Go(func() {
			n, err := bareStream(ctx, addr, d, d.Publishers*d.Unanswered/sessions)
			mu.Lock()
			defer mu.Unlock()
			total += n
			errs = errors.Join(errs, err)
		})
	}
	wg.Wait()
	return driven{Messages: total, Took: time.Since(began)}, errs
}

func bareStream(ctx context.Context, addr string, d drive, unanswered int) (uint64, error) {
	s, err := baseline.DialStream(ctx, addr, false, d.Size)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	room := make(chan struct{}, unanswered)
	var answered uint64
	done := make(chan error, 1)
	go func() {
		in := bufio.NewReaderSize(s, 16<<10)
		var answer [8]byte
		for {
			if _, err := io.ReadFull(in, answer[:]); err != nil {
				done <- err
				return
			}
			answered++
			<-room
		}
	}()
	out := bufio.NewWriterSize(s, 16<<10)
	record := make([]byte, d.Size)
	for until := time.Now().Add(d.For); time.Now().Before(until); {
		select {
		case room <- struct{}{}:
		default: // nothing may wait in the buffer while the other side is waited for
			if err := out.Flush(); err != nil {
				return 0, err
			}
			room <- struct{}{}
		}
		if _, err := out.Write(record); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(out.Flush(), s.Stream.Close()); err != nil {
		return 0, err
	}
	if err := <-done; !errors.Is(err, io.EOF) {
		return answered, err
	}
	return answered, nil
}

// bareRead reads n bytes from a bare stream.
func bareRead(ctx context.Context, addr string, n uint64) (readDone, error) {
	began := time.Now()
	s, err := baseline.DialStream(ctx, addr, true, int(n))
	if err != nil {
		return readDone{}, err
	}
	defer s.Close()
	got, err := io.Copy(io.Discard, s)
	return readDone{Bytes: uint64(got), Took: time.Since(began)}, err
}
