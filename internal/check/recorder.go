package check

import (
	"crypto/rand"
	"encoding/json"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Digest is what stands for a payload in a log: FNV-1a, 64 bits.
func Digest(payload []byte) uint64 {
	h := fnv.New64a()
	h.Write(payload)
	return h.Sum64()
}

// A Clock tells times that never step: nanoseconds since 1970 when it began, and what has passed
// since. Logs that share one compare exactly.
type Clock struct {
	Name string
	Now  func() int64
}

// NewClock returns a clock for this process.
func NewClock() Clock {
	began := time.Now()
	base := began.UnixNano()
	return Clock{Name: rand.Text(), Now: func() int64 { return base + int64(time.Since(began)) }}
}

// A RecorderConfig configures a Recorder. The zero value records to memory.
type RecorderConfig struct {
	Name  string // of the log
	Clock Clock  // zero: one of its own
	// Out takes lines of JSON as they come, each with one Write: a process that is killed loses
	// none. nil: they are kept in memory, for Log.
	Out io.Writer
}

// A Recorder writes one log. Safe for concurrent use.
type Recorder struct {
	clock Clock
	out   io.Writer

	mu  sync.Mutex
	log *Log
	ids uint64
	err error
}

// NewRecorder returns a Recorder.
func NewRecorder(cfg RecorderConfig) *Recorder {
	if cfg.Clock.Now == nil {
		cfg.Clock = NewClock()
	}
	r := &Recorder{clock: cfg.Clock, out: cfg.Out, log: newLog(cfg.Name, cfg.Clock.Name)}
	if r.out != nil {
		r.write(r.log.header())
	}
	return r
}

// Log returns what was recorded to memory. The Recorder must not be used afterwards.
func (r *Recorder) Log() *Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log
}

// Err returns the first error of Out.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Recorder) write(rec record) {
	b, err := json.Marshal(rec)
	if err == nil {
		_, err = r.out.Write(append(b, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
}

// add notes a line; make is called under the lock. The time is taken there, so that the order
// of lines is that of times.
func (r *Recorder) add(make func(*line)) (id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := line{t: r.clock.Now()}
	make(&x)
	if r.out == nil {
		r.log.lines = append(r.log.lines, x)
	} else {
		r.write(r.log.record(&x))
	}
	return x.id
}

func (r *Recorder) next() uint64 {
	r.ids++
	return r.ids
}

// An Op is an attempt to publish, or a client's call.
type Op uint64

// A Publish is what an Op publishes. Producer and N are those of the protocol, or, for a client
// that numbers by itself, a name of the client and the number of the call in its channel.
type Publish struct {
	Channel  relay.Channel
	Producer string // empty: none, N is 0
	N        uint64
	Void     bool
	Payload  []byte
}

// Publish notes that an attempt begins. It is called before anything is sent.
func (r *Recorder) Publish(p Publish) Op {
	return Op(r.add(func(x *line) {
		x.kind, x.id, x.n, x.void = kindPublish, r.next(), p.N, p.Void
		x.channel, x.who = r.log.intern(string(p.Channel)), r.log.intern(p.Producer)
		if !p.Void {
			x.digest = Digest(p.Payload)
		}
	}))
}

// Answer notes how the attempt ended; relay.Unknown where a client says that it cannot tell.
func (r *Recorder) Answer(op Op, at relay.Position, code relay.Code) {
	r.add(func(x *line) {
		x.kind, x.id, x.code = kindAnswer, uint64(op), code
		if code == relay.Done {
			x.at = at
		}
	})
}

// A Subscriber records one subscription, or one replica's history.
type Subscriber struct {
	r  *Recorder
	id uint64
}

// Subscribe notes that a subscription is asked for. It is called before anything is sent.
func (r *Recorder) Subscribe(q relay.SubscribeRequest) *Subscriber {
	return &Subscriber{r, r.add(func(x *line) {
		x.kind, x.id, x.channel = kindSubscribe, r.next(), r.log.intern(string(q.Channel))
		x.from, x.mode, x.n, x.barrier = q.From.Kind, q.Mode, q.Limit, q.Barrier
		if q.From.Kind == relay.StartAfter {
			x.at = q.From.After
		}
	})}
}

// Replica notes that the history of a channel follows, from its first message to the end, as a
// replica has it after it was drained.
func (r *Recorder) Replica(name string, ch relay.Channel) *Subscriber {
	return &Subscriber{r, r.add(func(x *line) {
		x.kind, x.id, x.from = kindReplica, r.next(), relay.StartFirst
		x.channel, x.who = r.log.intern(string(ch)), r.log.intern(name)
	})}
}

// Frame notes a frame. payload is a message's, of which f.Body says more than a log needs. An
// End that only announces is left out.
func (s *Subscriber) Frame(f relay.Frame, payload []byte) {
	if f.Kind == relay.KindEnd && f.End != nil && f.End.Deadline > 0 {
		return
	}
	s.r.add(func(x *line) {
		x.id, x.at, x.next = s.id, f.At, f.Next
		switch f.Kind {
		case relay.KindOK:
			x.kind = kindOK
		case relay.KindMessage:
			x.kind, x.digest = kindMessage, Digest(payload)
		case relay.KindGap:
			x.kind, x.reason = kindGap, f.Reason
		case relay.KindStatus:
			x.kind, x.state = kindStatus, f.State
		case relay.KindEnd:
			x.kind = kindEnd
			if f.End != nil {
				x.code = f.End.Code
			}
		}
	})
}

// Drained notes that the subscriber was waited for, until it should have everything that was
// acknowledged before.
func (s *Subscriber) Drained() {
	s.r.add(func(x *line) { x.kind, x.id = kindDrained, s.id })
}
