package link

import (
	"bytes"
	"sync"
	"testing"

	"github.com/meridian-relay/meridian/relay/wire"
)

// hurried is a stream during whose first write an answer comes.
type hurried struct {
	sink
	writes [][]byte
	answer func()
}

func (h *hurried) Write(p []byte) (int, error) {
	h.writes = append(h.writes, bytes.Clone(p))
	if len(h.writes) == 1 {
		h.answer()
	}
	return len(p), nil
}

// A large turn reads much at once, and answers that come meanwhile leave with its next write.
func TestLargeTurnLetsAnswersPass(t *testing.T) {
	out := &hurried{}
	l := newLane(out, new(sync.WaitGroup), func(error) {})
	l.running = true // the test takes the turn
	answer := wire.AppendFrame(nil, wire.TypeCancel, 7_654_321, nil)
	out.answer = func() { l.commit(append(l.begin(), answer...)) }
	for _, c := range []struct {
		credit int64
		large  bool
	}{{readSize - 1, false}, {readSize, true}} {
		out.writes = nil
		f := &feed{ref: 1, server: nobody, queue: &l.queue, lane: l, sub: &spring{body: make([]byte, 1000)}, credit: c.credit}
		l.push(f)
		s := scratches.Get().(*scratch)
		b, err := l.turn(l.pop(), s.buf[:0], s)
		if err != nil {
			t.Fatal(err)
		}
		if sent := c.credit - f.credit; (sent >= readSize) != c.large {
			t.Errorf("with credit for %d, a turn of %d bytes", c.credit, sent)
		}
		l.mu.Lock()
		l.head, l.tail = nil, nil
		l.mu.Unlock()
		if !c.large {
			continue
		}
		if len(out.writes) < 2 || !bytes.HasPrefix(out.writes[1], answer) {
			t.Errorf("the answer is not at the head of the second of %d writes", len(out.writes))
		}
		if bytes.Contains(b, answer) || l.control != nil {
			t.Error("the answer waited for the end of the turn, or came twice")
		}
	}
}
