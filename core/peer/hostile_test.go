package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
)

// dial opens a bare session to a node, with a certificate of node b.
func (s *stage) dial(to *player) relay.Session {
	s.t.Helper()
	c := transport.DialerConfig{TLS: s.tls("test", pki.Node, "b"), AnyHost: true, ALPN: ALPN}
	if s.network != nil {
		socket, err := s.network.Place("b").ListenPacket(0, "")
		if err != nil {
			s.t.Fatal(err)
		}
		c.PacketConn = socket
	}
	d, err := transport.NewDialer(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.hostile = append(s.hostile, d)
	session, err := d.QUIC(s.t.Context(), s.address(to.name))
	if err != nil {
		s.t.Fatal(err)
	}
	return session
}

// greet opens the stream and says a good Hello.
func (s *stage) greet(to *player, why purpose) (relay.Session, relay.Stream, *frameReader) {
	s.t.Helper()
	session := s.dial(to)
	stream, err := session.Open(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	h := hello{low: 1, high: 1, purpose: why, fleet: "test", node: "b", dialled: to.name, store: storeOf("b")}
	if _, err := stream.Write(h.append(nil)); err != nil {
		s.t.Fatal(err)
	}
	r := newFrameReader(stream)
	if f, _, err := r.next(); err != nil || f != typeWelcome {
		s.t.Fatalf("%#x, %v in Welcome's place", f, err)
	}
	return session, stream, r
}

// ends waits for the end of a session and returns its reason.
func ends(t *testing.T, s relay.Session) *relay.CloseError {
	t.Helper()
	receive(t, s.Context().Done(), "the end of the session")
	e, ok := errors.AsType[*relay.CloseError](context.Cause(s.Context()))
	if !ok || !e.Remote {
		t.Errorf("ended by %v", context.Cause(s.Context()))
	}
	return e
}

// Bytes that are not the protocol end the connection, and nothing else.
func TestBadBytes(t *testing.T) {
	huge := binary.AppendUvarint([]byte{byte(typeMessage)}, maxMessage+1)
	message, err := appendMessage(nil, new(numbered(1, 10)))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		why   purpose // 0: instead of Hello
		bytes []byte
	}{
		"no Hello":                 {0, message},
		"Hello of nothing":         {0, appendFrame(nil, typeHello, nil)},
		"garbage":                  {0, bytes.Repeat([]byte{0xff}, 100)},
		"a frame too large":        {forRaft, huge},
		"a length without end":     {forRaft, append([]byte{byte(typeMessage)}, bytes.Repeat([]byte{0xff}, 12)...)},
		"an unknown frame":         {forRaft, []byte{0x7e, 0}},
		"a message of nothing":     {forRaft, appendFrame(nil, typeMessage, nil)},
		"an answer nobody asked":   {forRaft, appendBeat(nil, typeEcho, 1, 1)},
		"no Ask":                   {forSnapshot, message},
		"an Ask of nothing":        {forSnapshot, appendFrame(nil, typeAsk, nil)},
		"a message half garbage":   {forRaft, append(message[:len(message)-12:len(message)-12], bytes.Repeat([]byte{0xff}, 12)...)},
		"a Done before everything": {forSnapshot, append((&ask{shard: 3, to: 2, snapshot: 9, at: place}).append(nil), appendFrame(nil, typeDone, nil)...)},
		"a Keep of nothing offered": {forSnapshot, bytes.Join([][]byte{
			(&ask{shard: 3, to: 2, snapshot: 9, at: place}).append(nil),
			bytes.Repeat(appendFrame(nil, typeKeep, nil), 2000)}, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *stage) {
				var states shelf
				states.put(9, newState(100, 100))
				a := s.play("a", setup{edit: func(c *Config) { c.Snapshot, c.ChunkSize = states.snapshot, 1000 }})
				var session relay.Session
				var stream relay.Stream
				if c.why == 0 {
					session = s.dial(a)
					var err error
					if stream, err = session.Open(t.Context()); err != nil {
						t.Fatal(err)
					}
				} else {
					session, stream, _ = s.greet(a, c.why)
				}
				begin := time.Now()
				if _, err := stream.Write(c.bytes); err != nil {
					t.Fatal(err)
				}
				if e := ends(t, session); e.Code == relay.Done || e.Code == relay.LinkLost {
					t.Errorf("ended with %v", e)
				}
				if took := time.Since(begin); took > 1500*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				if len(a.got) > 0 {
					t.Errorf("got %+v", <-a.got)
				}
				until(t, "snapshots are closed", func() bool { return states.open.Load() == 0 })
			})
		})
	}
}

// Who says nothing, or only half, is not waited for.
func TestSilentDialler(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a := s.play("a", setup{})
		mute, half := s.dial(a), s.dial(a)
		stream, err := half.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write([]byte{byte(typeHello), 100}); err != nil {
			t.Fatal(err)
		}
		greeted, _, _ := s.greet(a, forRaft)
		asks, _, _ := s.greet(a, forSnapshot)
		begin := time.Now()
		for _, session := range []relay.Session{mute, half, greeted, asks} {
			ends(t, session)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// While nobody takes its messages, a flooding node is held to the windows; beats of its own, and
// other nodes, go on. A second stream for bulk, which would get round that, ends the connection.
func TestFlood(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		hold := make(chan struct{})
		defer close(hold)
		fromC := make(chan struct{}, 16)
		a := s.play("a", setup{edit: func(c *Config) {
			c.Receive = func(from shard.Node, list []shard.Message) {
				if from == "c" {
					fromC <- struct{}{}
				} else {
					<-hold
				}
			}
		}})
		other := s.play("c", setup{})
		session, stream, r := s.greet(a, forRaft)
		bulk, err := session.OpenUni()
		if err != nil {
			t.Fatal(err)
		}
		flood, err := appendMessage(nil, new(numbered(1, 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		_ = bulk.SetWriteDeadline(time.Now().Add(10 * time.Second))
		var beating sync.WaitGroup
		defer beating.Wait()
		beating.Go(func() { // its signs of life
			for n := uint64(1); session.Context().Err() == nil; n++ {
				_, _ = stream.Write(appendBeat(nil, typeBeat, n, 1))
				time.Sleep(100 * time.Millisecond)
			}
		})
		for {
			n, err := bulk.Write(flood)
			if sent += n; err != nil {
				break
			}
		}
		if most := int(Window.MaxConnection) + keptBuffer + len(flood); sent > most || sent < 1<<20 {
			t.Errorf("%d bytes were taken, at most %d", sent, most)
		}
		if f, _, err := r.next(); err != nil || f != typeEcho {
			t.Errorf("%#x, %v in an echo's place", f, err)
		}
		other.peers.Send(shard.Send{To: "a", Bulk: []shard.Message{numbered(1, 1)}})
		receive(t, fromC, "another node's message")
		if session.Context().Err() != nil {
			t.Fatalf("ended: %v", context.Cause(session.Context()))
		}
		second, err := session.OpenUni()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = second.Write(flood[:1])
		ends(t, session)
	})
}

// What is for a node that does not read is bounded, and never makes Send wait; what is urgent
// does not wait behind the rest.
func TestFullQueue(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		hold := make(chan struct{})
		defer close(hold)
		urgent := make(chan shard.Message, 1<<16)
		small := func(c *Config) {
			c.BulkBytes, c.UrgentItems = 8<<20, 100
			c.Receive = func(_ shard.Node, list []shard.Message) {
				if len(list[0].Raft.GetEntries()[0].GetData()) > 0 {
					<-hold
					return
				}
				for _, m := range list {
					urgent <- m
				}
			}
		}
		a, _ := couple(s, small)
		const size, n = 100_000, 1000
		for i := range uint64(n) {
			a.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{numbered(i, size)}})
			if i%50 == 0 {
				time.Sleep(time.Millisecond) // lets it go
			}
		}
		st := a.peers.Stats()
		if w := st.Nodes[0].WaitBytes; w > 8<<20 {
			t.Errorf("%d bytes wait, at most %d", w, 8<<20)
		}
		if d := int(st.Dropped[DropFull]); d < (n*size-int(Window.MaxConnection)-(10<<20))/size || d >= n {
			t.Errorf("%d of %d messages dropped", d, n)
		}
		begin := time.Now()
		a.peers.Send(shard.Send{To: "b", Urgent: []shard.Message{numbered(7, 0)}})
		if m := receive(t, urgent, "what is urgent"); m.Raft.GetIndex() != 7 || time.Since(begin) > 50*time.Millisecond {
			t.Errorf("message %d after %v", m.Raft.GetIndex(), time.Since(begin))
		}
		for i := range uint64(1000) {
			a.peers.Send(shard.Send{To: "b", Urgent: []shard.Message{numbered(i, 0)}})
		}
		if d := a.peers.Stats().Dropped[DropFull]; d <= st.Dropped[DropFull] {
			t.Error("urgent messages are not bounded")
		}
		if len(a.events) > 0 {
			t.Errorf("a was told %+v", <-a.events)
		}
	})
}

// A length that is only claimed costs nothing.
func TestClaimedLength(t *testing.T) {
	head := binary.AppendUvarint([]byte{byte(typeMessage)}, maxMessage)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, _, err := newFrameReader(bytes.NewReader(head)).next(); err == nil {
			t.Fatal("a frame")
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 3*smallBuffer {
		t.Errorf("%d bytes allocated", n)
	}
}
