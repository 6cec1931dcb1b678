package wan

import (
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// A Way is what one direction does to what passes. The zero Way lets everything through at once.
// Shares are from 0 to 1.
type Way struct {
	Delay  time.Duration // added to everything; half a round trip
	Jitter time.Duration // up to so much more, evenly spread; it lets nothing overtake
	Loss   float64       // share of UDP datagrams dropped; TCP does not lose
	// Reorder is the share of UDP datagrams that are held back by Delay, Jitter and 2 ms more, so
	// that those behind overtake them.
	Reorder   float64
	Duplicate float64 // share of UDP datagrams that come twice
	// Corrupt is the share of UDP datagrams, and of what TCP carries at a time, in which one bit
	// is flipped. A real network's checksums find that in TCP nearly always; here TLS has to.
	Corrupt float64
	// Bandwidth is in bytes a second, for all that passes together; 0: endless.
	Bandwidth int64
	// Queue bounds how long something waits for its turn where Bandwidth is short: UDP is dropped
	// past it and counted as Overflow, TCP is not read; 0: 250 ms.
	Queue time.Duration
	MTU   int  // largest UDP payload in bytes, larger ones are lost; 0: any
	Cut   bool // UDP is dropped, TCP stands still, new TCP connections too
}

// A Protocol is what a way carries.
type Protocol uint8

// The protocols.
const (
	UDP Protocol = iota
	TCP
	protocols
)

func (p Protocol) String() string {
	if p == UDP {
		return "udp"
	}
	return "tcp"
}

// A pipe is one direction of one protocol between two places. Its methods are safe for concurrent
// use.
type pipe struct {
	// Set at construction.
	from, to string
	proto    Protocol

	// Guarded by mu.
	mu      sync.Mutex
	way     Way
	changed chan struct{} // closed at every set
	rng     *rand.Rand
	free    time.Time // when all that was let in so far has left, as Bandwidth allows
	kinds   map[string]*counter
}

// newPipe returns a pipe whose chances depend on the seed and on the names alone, so that they
// are the same in whatever order pipes are made.
func newPipe(seed uint64, from, to string, proto Protocol) *pipe {
	h := fnv.New64a()
	_, _ = h.Write([]byte(from + "\x00" + to + "\x00" + proto.String()))
	return &pipe{
		from: from, to: to, proto: proto,
		changed: make(chan struct{}),
		rng:     rand.New(rand.NewPCG(seed, h.Sum64())),
		kinds:   make(map[string]*counter),
	}
}

// change sets the way to what f makes of it.
func (p *pipe) change(f func(*Way)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.way.Bandwidth
	f(&p.way)
	if p.way.Bandwidth != before {
		p.free = time.Time{} // another line, whose queue is empty
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// now returns what happens now, and a channel that is closed when that changes.
func (p *pipe) now() (Way, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.way, p.changed
}

func (p *pipe) cut() bool {
	w, _ := p.now()
	return w.Cut
}

// kind returns the counter for a kind of traffic; the empty kind is the protocol's name.
func (p *pipe) kind(name string) *counter {
	if name == "" {
		name = p.proto.String()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.kinds[name]
	if c == nil {
		c = &counter{}
		p.kinds[name] = c
	}
	return c
}

// A fate is what becomes of one datagram.
type fate struct {
	lost, full bool      // dropped: by the way, or because its queue is full
	due        time.Time // zero: at once
	late       bool      // others may overtake it
	twice      bool
	flip       int // which bit is wrong; negative: none
}

// judge decides about one datagram of n bytes.
func (p *pipe) judge(n int) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.way
	f := fate{flip: -1}
	if w.Cut || w.MTU > 0 && n > w.MTU || p.chance(w.Loss) {
		f.lost = true
		return f
	}
	wait, room := p.queue(n)
	if !room {
		f.full = true
		return f
	}
	delay := w.Delay + wait + p.jitter()
	if p.chance(w.Reorder) {
		f.late = true
		delay += w.Delay + w.Jitter + 2*time.Millisecond
	}
	if delay > 0 {
		f.due = time.Now().Add(delay)
	}
	f.twice = p.chance(w.Duplicate)
	if n > 0 && p.chance(w.Corrupt) {
		f.flip = p.rng.IntN(8 * n)
	}
	return f
}

// datagram lets one datagram pass as it is judged: at once through send, or later through l,
// whose items are sent in the same manner. b is the caller's.
func (p *pipe) datagram(t tally, l *line, from netip.AddrPort, b []byte, send func([]byte)) {
	f := p.judge(len(b))
	switch {
	case f.lost:
		t.lose()
		return
	case f.full:
		t.overflow()
		return
	case f.due.IsZero() && !f.twice && f.flip < 0 && l.empty():
		send(b)
		return
	}
	times := 1
	if f.twice {
		times = 2
	}
	for range times {
		data := append([]byte{}, b...)
		flip(data, f.flip)
		if !l.addFrom(from, data, f.due, f.late) {
			t.overflow()
		}
	}
}

// stream decides about n bytes of a TCP connection: when they are due, and which bit is wrong.
// If there is no room for them yet, it returns how long to wait before asking again.
func (p *pipe) stream(n int) (f fate, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.flip = -1
	turn, room := p.queue(n)
	if !room {
		return f, max(turn-p.queueTime(), time.Millisecond)
	}
	f.due = time.Now().Add(p.way.Delay + turn + p.jitter())
	if n > 0 && p.chance(p.way.Corrupt) {
		f.flip = p.rng.IntN(8 * n)
	}
	return f, 0
}

// queue takes n bytes into the queue before the bandwidth, unless it is full, and returns how
// long it takes until the last byte has left. Invariant: mu is held, here and below.
func (p *pipe) queue(n int) (wait time.Duration, room bool) {
	if p.way.Bandwidth <= 0 {
		return 0, true
	}
	now := time.Now()
	ahead := max(p.free.Sub(now), 0)
	if ahead > p.queueTime() {
		return ahead, false
	}
	wait = ahead + time.Duration(float64(n)/float64(p.way.Bandwidth)*float64(time.Second))
	p.free = now.Add(wait)
	return wait, true
}

func (p *pipe) queueTime() time.Duration {
	if p.way.Queue > 0 {
		return p.way.Queue
	}
	return 250 * time.Millisecond
}

func (p *pipe) jitter() time.Duration {
	if p.way.Jitter <= 0 {
		return 0
	}
	return time.Duration(p.rng.Int64N(int64(p.way.Jitter)))
}

// chance is true in a share of cases. It draws nothing where the share is 0, so that a fault that
// is off does not change when the others strike.
func (p *pipe) chance(share float64) bool { return share > 0 && p.rng.Float64() < share }

// flip flips one bit of b.
func flip(b []byte, bit int) {
	if bit >= 0 {
		b[bit/8] ^= 1 << (bit % 8)
	}
}
