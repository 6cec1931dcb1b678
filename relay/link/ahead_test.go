package link

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// gated is a stream that takes nothing until its gate is open.
type gated struct {
	sink
	gate chan struct{}
	err  error // instead of taking anything

	mu     sync.Mutex
	writes [][]byte
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.gate
	if g.err != nil {
		return 0, g.err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, bytes.Clone(p))
	return len(p), nil
}

// counted is a spring that says how much was read.
type counted struct {
	spring
	mu   sync.Mutex
	read int
}

func (c *counted) Next(dst []relay.Frame, most int) []relay.Frame {
	n := len(dst)
	dst = c.spring.Next(dst, most)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fr := range dst[n:] {
		c.read += len(fr.Body)
	}
	return dst
}

func (c *counted) sum() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read
}

const aheadCredit = 8 * readSize

// aheadLane has a history on a stream that takes nothing yet, with 8 turns of credit.
func aheadLane(of *Ahead, out *gated, failed func(error)) (*lane, *counted, *sync.WaitGroup) {
	writers := new(sync.WaitGroup)
	l := newLane(out, writers, failed)
	sub := &counted{spring: spring{body: make([]byte, 1024)}}
	f := &feed{ref: 1, server: NewServer(ServeConfig{Ahead: of}), queue: &l.queue, lane: l, sub: sub, credit: aheadCredit}
	l.mu.Lock()
	l.push(f)
	l.mu.Unlock()
	return l, sub, writers
}

// While a stream takes nothing, a lane reads on, so far and not farther; then all comes in order,
// and answers that came meanwhile do not wait for it.
func TestAhead(t *testing.T) {
	for _, c := range []struct {
		name        string
		lanes       int
		least, most int // bytes that are read while the first write waits
	}{
		{"none", 0, 1, readSize},
		{"one", 1, 2 * largeSize, readSize + larges*largeSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				of, out := NewAhead(c.lanes), &gated{gate: make(chan struct{})}
				l, sub, writers := aheadLane(of, out, func(err error) { t.Error(err) })
				synctest.Wait()
				if n := sub.sum(); n < c.least || n > c.most {
					t.Errorf("%d bytes were read while nothing could leave; want %d to %d", n, c.least, c.most)
				}
				l.commit(wire.AppendFrame(l.begin(), wire.TypePong, 7, nil))
				close(out.gate)
				writers.Wait()
				if n := sub.sum(); n != aheadCredit {
					t.Errorf("%d bytes were read with credit for %d", n, aheadCredit)
				}
				checkOrder(t, out.writes)
				if len(of.room) != 0 {
					t.Error("a lane at rest counts as one that reads ahead")
				}
			})
		})
	}
}

// checkOrder checks that a history is whole, and that the Pong came right after the write that
// waited.
func checkOrder(t *testing.T, writes [][]byte) {
	t.Helper()
	before := len(writes[0]) // what was on its way when it came
	all := bytes.Join(writes, nil)
	r := wire.NewReader(bytes.NewReader(all))
	var seq, bytes, pong int
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == wire.TypePong {
			pong = bytes
			continue
		}
		fr, err := parseFrame(f)
		if err != nil {
			t.Fatal(err)
		}
		if seq++; int(fr.At.Seq) != seq {
			t.Fatalf("message %d came where %d was due", fr.At.Seq, seq)
		}
		bytes += len(fr.Body)
	}
	if bytes != aheadCredit {
		t.Errorf("%d bytes came; want %d", bytes, aheadCredit)
	}
	if pong == 0 || pong > before {
		t.Errorf("the answer came after %d bytes of messages; want at most %d", pong, before)
	}
}

// A stream that fails ends a lane that reads ahead, which reads no further.
func TestAheadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		of, out := NewAhead(1), &gated{gate: make(chan struct{}), err: broken}
		var failed []error
		l, sub, writers := aheadLane(of, out, func(err error) { failed = append(failed, err) })
		close(out.gate)
		writers.Wait()
		if len(failed) != 1 || !errors.Is(failed[0], broken) {
			t.Errorf("the lane failed with %v; want once, with %v", failed, broken)
		}
		if n := sub.sum(); n == aheadCredit {
			t.Error("all was read for a stream that takes nothing")
		}
		if !l.broken || len(of.room) != 0 {
			t.Errorf("broken %v, %d lanes that read ahead; want true and 0", l.broken, len(of.room))
		}
	})
}

// What was gathered leaves, in order, when a lane begins to read ahead and when it ends.
func TestAheadGathered(t *testing.T) {
	out := &gated{gate: make(chan struct{})}
	close(out.gate)
	l := newLane(out, new(sync.WaitGroup), func(err error) { t.Error(err) })
	small := make([]byte, 0, 10)
	b := l.ahead(NewAhead(1), append(small, "1"...))
	b, err := l.flush(append(b, "2"...))
	if err == nil {
		b, err = l.join(append(b, "3"...))
	}
	if got := string(bytes.Join(out.writes, nil)); err != nil || got != "123" {
		t.Errorf("%q came, %v; want 123", got, err)
	}
	if len(b) != 0 || cap(b) != cap(small) || l.sender != nil {
		t.Error("the lane has not gone back to its own buffer")
	}
}
