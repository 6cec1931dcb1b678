package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// writeSize is about how many bytes of messages are written at once.
const writeSize = 256 << 10

// send sends what waits, and beats, until the connection ends.
func (n *node) send(ctx context.Context, l *line) error {
	stop := context.AfterFunc(ctx, func() { l.session.Close(relay.GoingAway, "the node is stopping") })
	defer stop()
	silence := n.p.silence(l.session)
	defer silence.Stop()
	beats := new(beats)
	var wg sync.WaitGroup
	wg.Go(func() { n.fail(l.session, n.sendUrgent(l, beats)) })
	wg.Go(func() { n.fail(l.session, n.sendBulk(l)) })
	wg.Go(func() {
		n.fail(l.session, n.readEchoes(l, beats, func() { silence.Reset(n.p.cfg.SilentAfter) }))
	})
	wg.Wait()
	return context.Cause(l.session.Context())
}

// silence closes a session unless its timer is reset within SilentAfter.
func (p *Peers) silence(s relay.Session) *time.Timer {
	return time.AfterFunc(p.cfg.SilentAfter, func() {
		p.counters.silent.Add(1)
		s.Close(relay.LinkLost, "nothing came for "+p.cfg.SilentAfter.String())
	})
}

// fail ends a session with the first error of its goroutines.
func (n *node) fail(s relay.Session, err error) {
	if s.Context().Err() == nil {
		s.Close(relay.Protocol, err.Error())
	}
}

// sendUrgent writes urgent messages and beats.
func (n *node) sendUrgent(l *line, beats *beats) error {
	ticker := time.NewTicker(n.p.cfg.Beat)
	defer ticker.Stop()
	w := writer{n: n, to: l.stream, kind: Urgent}
	for due := true; ; {
		if due {
			if n.p.cfg.Unwell() {
				w.buf = appendFrame(w.buf, typeUnwell, nil)
				w.frames++
			}
			w.buf = appendBeat(w.buf, typeBeat, beats.next(), n.p.cfg.Version)
			w.frames++
		}
		if err := w.write(n.urgent); err != nil {
			return err
		}
		select {
		case <-n.urgent.wake:
			due = false
		case <-ticker.C:
			due = true
		case <-l.session.Context().Done():
			return context.Cause(l.session.Context())
		}
	}
}

// sendBulk writes other messages, on a stream that it opens for the first.
func (n *node) sendBulk(l *line) error {
	var w writer
	for {
		if items, _ := n.bulk.size(); items > 0 && w.to == nil {
			stream, err := l.session.OpenUni()
			if err != nil {
				return fmt.Errorf("open a stream for bulk: %w", err)
			}
			w = writer{n: n, to: stream, kind: Bulk}
		}
		if w.to != nil {
			if err := w.write(n.bulk); err != nil {
				return err
			}
		}
		select {
		case <-n.bulk.wake:
		case <-l.session.Context().Done():
			return context.Cause(l.session.Context())
		}
	}
}

// A writer writes what waits in a queue together. Not for concurrent use.
type writer struct {
	n      *node
	to     io.Writer
	kind   int
	buf    []byte // what is to be written before the queue
	frames int    // in buf
	list   []shard.Message
}

// write writes buf and all that waits.
func (w *writer) write(q *queue) error {
	for {
		w.list = q.take(w.list[:0], writeSize)
		for i := range w.list {
			b, err := appendMessage(w.buf, &w.list[i])
			if w.buf = b; err != nil {
				w.n.p.drop(DropTooLarge, w.list[i:i+1])
				if w.n.p.refusals.tell(err.Error()) {
					w.n.p.cfg.Log.Error("message of raft cannot be sent", "node", w.n.name, "error", err)
				}
				continue
			}
			w.frames++
		}
		if len(w.buf) == 0 {
			return nil
		}
		if _, err := w.to.Write(w.buf); err != nil {
			w.n.p.drop(DropCut, w.list)
			return err
		}
		w.n.p.counters.sent[w.kind].add(w.frames, len(w.buf))
		clear(w.list) // messages are not kept alive
		w.buf, w.frames = w.buf[:0], 0
		if cap(w.buf) > 4*writeSize {
			w.buf = nil
		}
	}
}

// readEchoes reads what answers beats.
func (n *node) readEchoes(l *line, beats *beats, alive func()) error {
	for {
		t, b, err := l.reader.next()
		if err != nil {
			return err
		}
		if t != typeEcho {
			return fmt.Errorf("%w: %#x from who was dialled", ErrUnsupported, t)
		}
		number, version, err := decodeBeat(b)
		if err != nil {
			return err
		}
		alive()
		n.hear()
		n.version.Store(version)
		n.p.counters.received[Urgent].add(1, len(b))
		if rtt := beats.took(number); rtt > 0 {
			if old := n.rtt.Load(); old > 0 {
				rtt = time.Duration(old) + (rtt-time.Duration(old))/8
			}
			n.rtt.Store(int64(max(rtt, 1)))
		}
	}
}

// beats knows when the last beats left.
type beats struct {
	last atomic.Uint64
	at   [16]atomic.Pointer[time.Time]
}

// next returns the next beat's number.
func (b *beats) next() uint64 {
	now := time.Now()
	number := b.last.Load() + 1
	b.at[number%uint64(len(b.at))].Store(&now)
	b.last.Store(number)
	return number
}

// took returns how long a beat's echo took; 0: it is too old to tell, or was never sent.
func (b *beats) took(number uint64) time.Duration {
	last := b.last.Load()
	if number == 0 || number > last || last-number >= uint64(len(b.at)) {
		return 0
	}
	return time.Since(*b.at[number%uint64(len(b.at))].Load())
}

func appendBeat(b []byte, t frameType, number, version uint64) []byte {
	return appendFrame(b, t, func(b []byte) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(b, number), version)
	})
}

func decodeBeat(b []byte) (number, version uint64, err error) {
	p := body{b: b}
	number, version = p.number(), p.number()
	return number, version, p.end("Beat")
}
