package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/webtransport-go"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A session is one connection: a reader per stream, and one stream for requests.
type session struct {
	load   *Load
	wt     *webtransport.Session
	shard  *shard
	stream *webtransport.Stream // of Hello; nil for the baseline
	limits *wire.Limits

	got      atomic.Int64 // messages received
	pending  atomic.Int64 // subscriptions without an answer
	closing  atomic.Bool
	answered chan struct{}

	inflight atomic.Int64  // bytes of publishes without an answer
	room     chan struct{} // one slot: an answer came

	writeMu sync.Mutex
	nextRef uint64

	mu   sync.Mutex
	refs map[uint64]*subscription
}

// A subscription is owned by the reader of its stream once its first frame has come.
type subscription struct {
	channel string
	at      relay.Position // of the last message, or where it began
	owed    uint64         // bytes received and not granted again
}

func newSession(l *Load, wt *webtransport.Session) *session {
	return &session{
		load: l, wt: wt, shard: l.tally.shard(), nextRef: 1,
		answered: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// hello opens the first stream and waits for Welcome.
func (s *session) hello(ctx context.Context) error {
	stream, err := s.wt.OpenStreamSync(ctx)
	if err != nil {
		return fmt.Errorf("open the first stream: %w", err)
	}
	s.stream = stream
	b := wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{
		Token: s.load.cfg.Token,
		Lanes: uint32(s.load.cfg.Lanes), Agent: "bench",
	})
	if _, err := stream.Write(b); err != nil {
		return fmt.Errorf("say Hello: %w", err)
	}
	r := wire.NewReader(stream)
	_ = stream.SetReadDeadline(time.Now().Add(30 * time.Second))
	f, err := r.Next()
	if err != nil {
		return fmt.Errorf("wait for Welcome: %w", err)
	}
	var w wire.Welcome
	if f.Type != wire.TypeWelcome {
		return fmt.Errorf("the answer to Hello is %v: %s", f.Type, ended(f))
	}
	if err := proto.Unmarshal(f.Body, &w); err != nil {
		return fmt.Errorf("read Welcome: %w", err)
	}
	s.limits = w.Limits
	_ = stream.SetReadDeadline(time.Time{})
	s.refs = make(map[uint64]*subscription)
	s.load.wg.Go(func() { s.read(r) })
	return nil
}

func (s *session) acceptUni() {
	for {
		stream, err := s.wt.AcceptUniStream(s.load.ctx)
		if err != nil {
			s.ended(err)
			return
		}
		s.load.wg.Go(func() { s.read(wire.NewReader(stream)) })
	}
}

// read reads one stream to its end.
func (s *session) read(r *wire.Reader) {
	for {
		s.load.reading()
		f, err := r.Next()
		if err != nil {
			s.ended(err)
			return
		}
		switch f.Type {
		case wire.TypeMessage:
			var credit uint64
			if credit, err = s.message(f); err == nil && credit > 0 {
				// At once: held back, it could stand still with the sender.
				err = s.write(wire.AppendCredit(nil, f.Ref, credit))
			}
		case wire.TypeOK:
			err = s.ok(f)
		case wire.TypeEnd:
			err = fmt.Errorf("ref %d: %s", f.Ref, ended(f))
		case wire.TypeGap:
			err = fmt.Errorf("ref %d: a gap", f.Ref)
		}
		if err != nil {
			s.ended(err)
			return
		}
	}
}

// message counts one message and returns the credit for it, once half a window is owed.
func (s *session) message(f wire.Frame) (credit uint64, err error) {
	epoch, seq, body, err := wire.ScanPosition(f.Body)
	if err != nil {
		return 0, err
	}
	payload, err := payloadOf(body)
	if err != nil {
		return 0, err
	}
	s.got.Add(1)
	s.shard.record(payload)
	if s.load.cfg.Bare {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.refs[f.Ref]
	if sub == nil {
		return 0, fmt.Errorf("message for ref %d, which is nobody's", f.Ref)
	}
	at := relay.Position{Epoch: relay.Epoch(epoch), Seq: relay.Seq(seq)}
	if at != sub.at.Next() {
		return 0, fmt.Errorf("%s: message %v after %v", sub.channel, at, sub.at)
	}
	sub.at = at
	if sub.owed += uint64(len(body)); sub.owed < s.load.cfg.Window/2 {
		return 0, nil
	}
	credit, sub.owed = sub.owed, 0
	return credit, nil
}

func (s *session) ok(f wire.Frame) error {
	var ok wire.OK
	if err := proto.Unmarshal(f.Body, &ok); err != nil {
		return fmt.Errorf("read OK: %w", err)
	}
	s.mu.Lock()
	sub := s.refs[f.Ref]
	if sub != nil {
		sub.at = relay.Position{Epoch: relay.Epoch(ok.Epoch), Seq: relay.Seq(ok.Seq)}
	}
	s.mu.Unlock()
	if sub == nil { // a publish: its ref is its size
		s.inflight.Add(-int64(f.Ref & sizeMask))
		poke(s.room)
		return nil
	}
	if s.pending.Add(-1) == 0 {
		poke(s.answered)
	}
	return nil
}

func (s *session) subscribe(channels []string, own bool) error {
	var b []byte
	s.mu.Lock()
	s.pending.Add(int64(len(channels)))
	for _, c := range channels {
		ref := s.nextRef
		s.nextRef++
		s.refs[ref] = &subscription{channel: c}
		b = wire.AppendProto(b, wire.TypeSubscribe, ref, &wire.Subscribe{
			Channel: c, Own: own, Credit: s.load.cfg.Window,
		})
	}
	s.mu.Unlock()
	return s.write(b)
}

// subscribed waits until every subscription is answered.
func (s *session) subscribed(ctx context.Context, within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for s.pending.Load() > 0 {
		select {
		case <-s.answered:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return fmt.Errorf("%d subscriptions not answered within %v", s.pending.Load(), within)
		}
	}
	return nil
}

func (s *session) write(b []byte) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	_, err := s.stream.Write(b)
	return err
}

// ended reports what ended a stream or the session, unless that was asked for.
func (s *session) ended(err error) {
	if !errors.Is(err, io.EOF) && !s.closing.Load() {
		s.load.fail(fmt.Errorf("session ended: %w", err))
	}
}

func (s *session) close() {
	s.closing.Store(true)
	_ = s.wt.CloseWithError(0, "")
}

func ended(f wire.Frame) string {
	var e wire.End
	if f.Type != wire.TypeEnd || proto.Unmarshal(f.Body, &e) != nil {
		return f.Type.String()
	}
	return fmt.Sprintf("%v: %s", relay.Code(e.Code), e.Detail)
}

// payloadOf returns the payload of a Message that has one as its first field.
func payloadOf(body []byte) ([]byte, error) {
	const tag = 1<<3 | 2
	if len(body) > 1 && body[0] == tag {
		size, n := binary.Uvarint(body[1:])
		if n > 0 && uint64(len(body)-1-n) >= size && size >= headSize {
			return body[1+n:][:size], nil
		}
	}
	return nil, fmt.Errorf("a message of %d bytes without the payload of a benchmark", len(body))
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
