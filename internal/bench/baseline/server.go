// Package baseline is the server that benchmarks are held against: bare webtransport-go that
// writes the same bytes to every session, one unidirectional stream each, one Write a message.
package baseline

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// A Config describes a server. TLS, Conn and Path are needed.
type Config struct {
	TLS  *tls.Config
	Conn net.PacketConn
	Path string // of the WebTransport endpoint
	// FlowControl offers session flow control; a session has it when the client offers it too.
	FlowControl bool
}

// A Server writes to its sessions.
type Server struct {
	cfg Config
	wt  *webtransport.Server

	mu       sync.Mutex
	sessions map[chan []byte]struct{}
}

// New returns a server that accepts sessions once Serve runs.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, sessions: make(map[chan []byte]struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc(cfg.Path, s.accept)
	s.wt = &webtransport.Server{
		H3: &http3.Server{
			TLSConfig: cfg.TLS,
			Handler:   mux,
			QUICConfig: &quic.Config{
				MaxIdleTimeout:  40 * time.Second,
				KeepAlivePeriod: 15 * time.Second,
			},
		},
		CheckOrigin: func(*http.Request) bool { return true },
	}
	if cfg.FlowControl {
		s.wt.Config = &webtransport.Config{MaxIncomingStreams: 16, MaxIncomingUniStreams: 16, MaxIncomingData: 64 << 10}
	}
	return s
}

// Serve accepts sessions until Close.
func (s *Server) Serve() error { return s.wt.Serve(s.cfg.Conn) }

// Close ends every session.
func (s *Server) Close() error { return s.wt.Close() }

func (s *Server) accept(w http.ResponseWriter, r *http.Request) {
	session, err := s.wt.Upgrade(w, r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	go s.write(session)
}

// write writes one session's messages, each with one Write.
func (s *Server) write(session *webtransport.Session) {
	stream, err := session.OpenUniStream()
	if err != nil {
		return
	}
	queue := make(chan []byte, 64)
	s.mu.Lock()
	s.sessions[queue] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sessions, queue)
		s.mu.Unlock()
	}()
	for {
		select {
		case message := <-queue:
			if _, err := stream.Write(message); err != nil {
				return
			}
		case <-session.Context().Done():
			return
		}
	}
}

// Send writes one message to every session; one that is 64 behind misses it.
func (s *Server) Send(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for queue := range s.sessions {
		select {
		case queue <- message:
		default:
		}
	}
}

// Pace sends frame rate times a second until ctx is done, with the time of sending (Unix
// nanoseconds, big endian) at byte timeAt.
func (s *Server) Pace(ctx context.Context, frame []byte, timeAt int, rate float64) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			message := append([]byte(nil), frame...)
			binary.BigEndian.PutUint64(message[timeAt:], uint64(time.Now().UnixNano()))
			s.Send(message)
		case <-ctx.Done():
			return
		}
	}
}

// Flood sends message again and again, as fast as the slowest session takes it, until ctx is done.
func (s *Server) Flood(ctx context.Context, message []byte) {
	s.mu.Lock()
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for {
		for _, queue := range sessions {
			select {
			case queue <- message:
			case <-ctx.Done():
				return
			}
		}
	}
}
