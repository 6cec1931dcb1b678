package link

import (
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// sink is a stream that takes everything.
type sink struct{ bytes, writes int }

func (s *sink) Write(p []byte) (int, error)      { s.bytes += len(p); s.writes++; return len(p), nil }
func (s *sink) Close() error                     { return nil }
func (s *sink) CancelWrite(relay.Code)           {}
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// spring is a subscription that always has more.
type spring struct {
	body []byte
	seq  relay.Seq
}

func (s *spring) Next(dst []relay.Frame, most int) []relay.Frame {
	for bytes := 0; bytes < most; bytes += len(s.body) {
		s.seq++
		dst = append(dst, relay.Frame{Kind: relay.KindMessage, At: relay.Position{Epoch: 1, Seq: s.seq}, Body: s.body})
	}
	return dst
}

func (s *spring) Close() {}

// nobody counts what is delivered.
var nobody = NewServer(ServeConfig{})

// A delivery through a lane: 0 allocations, whatever the number of subscriptions on it.
func benchmarkLane(b *testing.B, size, feeds int) {
	out := &sink{}
	l := newLane(out, new(sync.WaitGroup), func(error) {})
	l.running = true // no writer of its own: the benchmark takes the turns
	s := scratches.Get().(*scratch)
	for i := range feeds {
		f := &feed{ref: uint64(i + 1), server: nobody, queue: &l.queue, lane: l, sub: &spring{body: make([]byte, size)}, credit: 1 << 60, own: feeds == 1}
		l.push(f)
	}
	buf := s.buf[:0]
	b.ReportAllocs()
	b.SetBytes(int64(size))
	var delivered int
	for delivered < b.N {
		f := l.pop()
		before := f.credit
		buf, _ = l.turn(f, buf, s)
		delivered += int(before-f.credit) / size
		if len(buf) >= writeSize || l.wrote {
			_, _ = l.flush(buf)
			buf, l.wrote = buf[:0], false
		}
	}
	b.ReportMetric(float64(delivered)/float64(max(out.writes, 1)), "msgs/write")
}

func BenchmarkLane128B(b *testing.B)            { benchmarkLane(b, 128, 1) }
func BenchmarkLane1KB(b *testing.B)             { benchmarkLane(b, 1024, 1) }
func BenchmarkLane64KB(b *testing.B)            { benchmarkLane(b, 64<<10, 1) }
func BenchmarkLaneShared200Of128B(b *testing.B) { benchmarkLane(b, 128, 200) }

func TestDeliveryAllocatesNothing(t *testing.T) {
	for _, feeds := range []int{1, 200} {
		out := &sink{}
		l := newLane(out, new(sync.WaitGroup), func(error) {})
		l.running = true
		s := scratches.Get().(*scratch)
		for i := range feeds {
			l.push(&feed{ref: uint64(i + 1), server: nobody, queue: &l.queue, lane: l, sub: &spring{body: make([]byte, 128)}, credit: 1 << 40, own: feeds == 1})
		}
		if n := testing.AllocsPerRun(1_000, func() {
			b, _ := l.turn(l.pop(), s.buf[:0], s)
			_, _ = l.flush(b)
		}); n != 0 {
			t.Errorf("%d subscriptions on a lane: %v allocations per turn", feeds, n)
		}
	}
}
