package baseline

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"

	"github.com/quic-go/quic-go"
)

// streamALPN is what the bare QUIC streams speak.
const streamALPN = "bare"

// streamConfig lets a stream be as far ahead as one of Meridian's between processes of a fleet.
func streamConfig() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow: 1 << 20, MaxStreamReceiveWindow: 8 << 20,
		InitialConnectionReceiveWindow: 2 << 20, MaxConnectionReceiveWindow: 32 << 20,
	}
}

// ServeStreams serves bare streams until ctx ends. A stream begins with a size, 8 bytes. With the
// highest bit, so many bytes are written to it; else it brings records of that size, each
// answered with 8 bytes.
func ServeStreams(ctx context.Context, conn net.PacketConn, conf *tls.Config) error {
	conf = conf.Clone()
	conf.NextProtos = []string{streamALPN}
	t := &quic.Transport{Conn: conn}
	defer t.Close()
	l, err := t.Listen(conf, streamConfig())
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go func() {
			for {
				s, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				go serveStream(s)
			}
		}()
	}
}

func serveStream(s *quic.Stream) {
	defer s.Close()
	in := bufio.NewReaderSize(s, 64<<10)
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return
	}
	size := binary.BigEndian.Uint64(head[:])
	if size>>63 == 1 {
		block := make([]byte, 64<<10)
		for left := size &^ (1 << 63); left > 0; left -= min(left, uint64(len(block))) {
			if _, err := s.Write(block[:min(left, uint64(len(block)))]); err != nil {
				return
			}
		}
		return
	}
	// What was read at once is answered at once.
	record := make([]byte, min(size, 1<<20))
	out := bufio.NewWriterSize(s, 16<<10)
	for {
		if _, err := io.ReadFull(in, record); err != nil {
			return
		}
		if _, err := out.Write(head[:]); err != nil {
			return
		}
		if in.Buffered() < len(record) && out.Flush() != nil {
			return
		}
	}
}

// A Stream is a client's side of a bare stream.
type Stream struct {
	conn *quic.Conn
	*quic.Stream
}

// DialStream opens a stream: down, the server sends size bytes; else it takes records of size.
func DialStream(ctx context.Context, addr string, down bool, size int) (*Stream, error) {
	// The server is this benchmark's own, on loopback: its certificate proves nothing.
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{streamALPN}}
	c, err := quic.DialAddr(ctx, addr, conf, streamConfig())
	if err != nil {
		return nil, err
	}
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	n := uint64(size)
	if down {
		n |= 1 << 63
	}
	_, err = s.Write(binary.BigEndian.AppendUint64(nil, n))
	return &Stream{c, s}, err
}

// Close ends the connection.
func (s *Stream) Close() error { return s.conn.CloseWithError(0, "") }
