package load

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Classes is how many kinds of messages are counted apart.
const Classes = 2

// headSize is the front of a payload: the time it was sent (Unix nanoseconds, big endian, on
// the one clock of this machine), and its class.
const headSize = 9

// AppendPayload appends a payload of size bytes: head, then filler.
func AppendPayload(b []byte, class uint8, size int) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	b = append(b, class)
	for range max(size, headSize) - headSize {
		b = append(b, 'm')
	}
	return b
}

// A tally counts messages and their latencies in a few shards.
type tally struct {
	shards [16]shard
	next   atomic.Uint32
}

type shard struct {
	mu      sync.Mutex
	bytes   int64
	classes [Classes]*hdrhistogram.Histogram // microseconds
}

func (t *tally) shard() *shard { return &t.shards[int(t.next.Add(1))%len(t.shards)] }

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (time.Minute).Microseconds(), 3)
}

func (s *shard) record(payload []byte) {
	sent := time.Unix(0, int64(binary.BigEndian.Uint64(payload)))
	took := min(max(time.Since(sent).Microseconds(), 1), time.Minute.Microseconds())
	class := payload[headSize-1] % Classes
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(len(payload))
	if s.classes[class] == nil {
		s.classes[class] = newHistogram()
	}
	_ = s.classes[class].RecordValue(took)
}

// A Latency summarises one class of messages.
type Latency struct {
	Count         int64
	P50, P99, Max time.Duration
}

// A Count is what all sessions received since the last Reset.
type Count struct {
	Messages int64
	Bytes    int64 // payload
	Class    [Classes]Latency
}

// Reset begins to count anew.
func (l *Load) Reset() {
	for i := range l.tally.shards {
		s := &l.tally.shards[i]
		s.mu.Lock()
		s.bytes = 0
		for _, h := range s.classes {
			if h != nil {
				h.Reset()
			}
		}
		s.mu.Unlock()
	}
}

// Count returns what was received since Reset.
func (l *Load) Count() Count {
	var c Count
	for class := range Classes {
		all := newHistogram()
		for i := range l.tally.shards {
			s := &l.tally.shards[i]
			s.mu.Lock()
			if h := s.classes[class]; h != nil {
				all.Merge(h)
			}
			if class == 0 {
				c.Bytes += s.bytes
			}
			s.mu.Unlock()
		}
		c.Messages += all.TotalCount()
		c.Class[class] = Latency{
			Count: all.TotalCount(),
			P50:   time.Duration(all.ValueAtQuantile(50)) * time.Microsecond,
			P99:   time.Duration(all.ValueAtQuantile(99)) * time.Microsecond,
			Max:   time.Duration(all.Max()) * time.Microsecond,
		}
	}
	return c
}
