package link

import (
	"cmp"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

const (
	writeSize    = 16 << 10         // bytes that leave together
	quantum      = 2 << 10          // bytes of one subscription's turn on a shared lane
	readSize     = 128 << 10        // bytes of a turn beside which nobody waits, for a peer with much credit
	backlogBound = 64 << 10         // control bytes past which the lane's requests wait
	stallAfter   = 30 * time.Second // a stream that accepts nothing for so long is given up
	lookEvery    = 10 * time.Second // how often a blocked write is looked at
)

// errStalled is why a lane fails when its stream accepted nothing for stallAfter.
var errStalled = errors.New("the stream accepted nothing for 30 s")

// scratch is what a writer needs while it runs.
type scratch struct {
	buf    []byte
	frames []relay.Frame
}

var scratches = sync.Pool{New: func() any {
	// With room for the part of a message by which a turn may exceed its bytes.
	return &scratch{buf: make([]byte, 0, writeSize+4<<10), frames: make([]relay.Frame, 0, 64)}
}}

// controls holds buffers for control frames, so that a lane at rest has none.
var controls = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// A lane writes one stream.
type lane struct {
	queue

	// Set at construction.
	out    relay.SendStream
	failed func(error) // called once, by the writer, when the stream can no longer be written

	// Owned by the writer.
	wrote  bool    // since control frames were last looked for
	sender *sender // writes meanwhile; nil: the writer does

	// Owned by who writes to out.
	deadline time.Time // that out has

	// Guarded by queue.mu.
	control  *[]byte       // frames that go before all else; nil: none
	room     chan struct{} // closed when control was taken; nil: nobody waits
	requests int           // unanswered requests whose answers come on this lane
	eof      bool          // no further requests will come
	fin      bool          // FIN was sent
	broken   bool          // the stream failed; its writer has returned, or touches no feed any more
	drained  func()        // called once, when nothing waits any more, nor, after eof, can; nil: none
}

func newLane(out relay.SendStream, writers *sync.WaitGroup, failed func(error)) *lane {
	l := &lane{out: out, failed: failed}
	l.w, l.writers = l, writers
	return l
}

// begin locks the lane and returns the control frames that wait, to append to. commit follows.
func (l *lane) begin() []byte {
	l.mu.Lock()
	if l.control == nil {
		l.control = controls.Get().(*[]byte)
	}
	return *l.control
}

// commit takes what begin returned, with frames appended.
func (l *lane) commit(b []byte) {
	*l.control = b
	if l.dead {
		l.dropControl()
	}
	l.kick()
	l.mu.Unlock()
}

// settle commits the answer of one request.
func (l *lane) settle(b []byte) {
	l.requests--
	l.commit(b)
}

func (l *lane) dropControl() {
	if l.control == nil {
		return
	}
	recycle(l.control)
	l.control = nil
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

func recycle(control *[]byte) {
	if cap(*control) <= 2*writeSize {
		*control = (*control)[:0]
		controls.Put(control)
	}
}

// waitRoom waits while too many control frames wait: who does not read answers is not read.
func (l *lane) waitRoom() {
	for {
		l.mu.Lock()
		if l.dead || l.control == nil || len(*l.control) < backlogBound {
			l.mu.Unlock()
			return
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		<-room
	}
}

// noMore says that no further request comes: FIN follows the last answer.
func (l *lane) noMore() {
	l.mu.Lock()
	l.eof = true
	l.kick()
	l.mu.Unlock()
}

// whenDrained calls fn, once, when nothing waits any more (after noMore: when FIN was sent), or
// the stream failed.
func (l *lane) whenDrained(fn func()) {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		fn()
		return
	}
	l.drained = fn
	l.kick()
	l.mu.Unlock()
}

// kill stops all writing, of a session that has ended: the writer, if one runs, returns soon.
func (l *lane) kill() {
	l.mu.Lock()
	l.dead = true
	drained := l.dropAll()
	l.mu.Unlock()
	if drained != nil {
		drained()
	}
}

// write empties the lane. It runs on its own goroutine, one at a time.
func (l *lane) write() {
	defer l.writers.Done()
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	b := s.buf[:0]
	var err error
	for err == nil {
		l.mu.Lock()
		if l.sender != nil && (l.dead || l.head == nil) {
			l.mu.Unlock()
			b, err = l.join(b)
			continue
		}
		if l.dead {
			l.running = false
			l.mu.Unlock()
			return
		}
		if l.control == nil && l.head == nil {
			l.rest()
			return
		}
		l.mu.Unlock()

		if l.sender == nil {
			b, err = l.controlled(b)
		}
		l.wrote = false
		for err == nil && len(b) < writeSize && !l.wrote {
			l.mu.Lock()
			f := l.pop()
			l.mu.Unlock()
			if f == nil {
				break
			}
			b, err = l.turn(f, b, s)
		}
		if err == nil && len(b) > 0 {
			b, err = l.flush(b)
		}
	}
	if l.sender != nil {
		_, first := l.join(b[:0])
		err = cmp.Or(first, err)
	}
	l.fail(err)
}

// controlled puts the control frames that wait into b, which is empty, or writes them if they are
// more than there is room for. Who writes to out calls it.
func (l *lane) controlled(b []byte) ([]byte, error) {
	l.mu.Lock()
	control := l.control
	l.control = nil
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	l.mu.Unlock()
	if control == nil {
		return b, nil
	}
	defer recycle(control)
	if len(*control) > min(writeSize, cap(b)) {
		return b, l.put(*control)
	}
	return append(b, *control...), nil
}

// rest ends the writer's run. l.mu is held, and released.
func (l *lane) rest() {
	l.running = false
	var drained func()
	if !l.eof || l.requests == 0 {
		drained, l.drained = l.drained, nil
	}
	fin := l.eof && l.requests == 0 && !l.fin
	l.fin = l.fin || fin
	l.mu.Unlock()
	if fin {
		_ = l.out.Close()
	}
	if drained != nil {
		drained()
	}
}

// turn gives f its turn: it appends to b, or writes, what f may send now.
func (l *lane) turn(f *feed, b []byte, s *scratch) ([]byte, error) {
	room := writeSize - len(b)
	size := room
	if !f.own {
		size = min(size, quantum)
	}
	frames, allowed := f.pull(s.frames[:0], size, room)
	var messages, bytes int
	var ended bool
	var err error
	if allowed >= readSize {
		b = l.ahead(f.server.cfg.Ahead, b)
	} else {
		b, err = l.join(b)
	}
	for i := range frames {
		if err != nil {
			break
		}
		fr := &frames[i]
		if fr.Kind == relay.KindMessage {
			f.at = fr.At
			messages++
			bytes += len(fr.Body)
			b, err = l.message(b, f.ref, fr)
			continue
		}
		ended = ended || isLast(fr)
		b = appendFrame(b, f.ref, fr, f.at)
	}
	s.done(f, frames, ended)
	f.pulled(allowed, messages, bytes, ended)
	return b, err
}

// done lets go of the frames that f gave: their bodies were copied or written.
func (s *scratch) done(f *feed, frames []relay.Frame, ended bool) {
	clear(frames)
	if cap(frames) <= 2048 {
		s.frames = frames[:0]
	}
	if !ended && len(frames) > 0 {
		f.sub.Next(nil, 0)
	}
}

// message appends a Message frame to b, which it writes first where there is no room; control
// frames that came meanwhile do not wait for the turn's end. A body larger than a write goes as
// it is.
func (l *lane) message(b []byte, ref uint64, fr *relay.Frame) ([]byte, error) {
	size := wire.MaxHeaderLen + 20 + len(fr.Body)
	for first := true; len(b) > 0 && len(b)+size > cap(b); first = false {
		var err error
		if b, err = l.flush(b); err == nil && first && l.sender == nil {
			b, err = l.controlled(b)
		}
		if err != nil {
			return b, err
		}
	}
	b = wire.AppendMessageHeader(b, ref, uint64(fr.At.Epoch), uint64(fr.At.Seq), len(fr.Body))
	if len(b)+len(fr.Body) <= cap(b) {
		return append(b, fr.Body...), nil
	}
	b, err := l.join(b)
	if err == nil {
		b, err = l.flush(b)
	}
	if err != nil {
		return b, err
	}
	return b, l.put(fr.Body)
}

// flush writes b, or has it written, and returns what to fill next.
func (l *lane) flush(b []byte) ([]byte, error) {
	l.wrote = true
	if l.sender == nil {
		return b[:0], l.put(b)
	}
	if l.sender.failed.Load() {
		return l.join(b[:0])
	}
	l.sender.full <- b
	return <-l.sender.free, nil
}

// put writes b. It fails with errStalled when nothing was accepted for stallAfter.
func (l *lane) put(b []byte) error {
	progress := time.Now()
	for now := progress; ; now = time.Now() {
		if l.deadline.Sub(now) < lookEvery/2 { // not at every write: it costs
			l.deadline = now.Add(lookEvery)
			if err := l.out.SetWriteDeadline(l.deadline); err != nil {
				return err
			}
		}
		n, err := l.out.Write(b)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if now = time.Now(); n > 0 {
			progress = now
			b = b[n:]
		} else if now.Sub(progress) >= stallAfter {
			return errStalled
		}
	}
}

// fail ends the lane after err.
func (l *lane) fail(err error) {
	l.mu.Lock()
	already := l.dead
	l.dead = true
	l.broken = !already
	l.running = false
	drained := l.dropAll()
	l.mu.Unlock()
	if drained != nil {
		drained()
	}
	if !already {
		l.failed(err)
	}
}

// dropAll drops what waits and returns what is to be called for it. l.mu is held.
func (l *lane) dropAll() (drained func()) {
	l.dropControl()
	drained, l.drained = l.drained, nil
	return drained
}
