package link

import (
	"errors"
	"sync"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// datagrams writes the subscriptions that asked for datagrams. It has a goroutine of its own
// while something waits: SendDatagram may block, and must not hold a stream's writer. While it
// blocks, latest subscriptions conflate in their hub.
type datagrams struct {
	queue
	session relay.Session
}

func newDatagrams(session relay.Session, writers *sync.WaitGroup) *datagrams {
	d := &datagrams{session: session}
	d.w, d.writers = d, writers
	return d
}

func (d *datagrams) kill() {
	d.mu.Lock()
	d.dead = true
	d.mu.Unlock()
}

func (d *datagrams) write() {
	defer d.writers.Done()
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	for {
		d.mu.Lock()
		var f *feed
		if !d.dead {
			f = d.pop()
		}
		if f == nil {
			d.running = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		d.turn(f, s)
	}
}

func (d *datagrams) turn(f *feed, s *scratch) {
	frames, allowed := f.pull(s.frames[:0], quantum, quantum)
	var messages, bytes int
	var ended bool
	for i := range frames {
		fr := &frames[i]
		if fr.Kind == relay.KindMessage {
			f.at = fr.At
			messages++
			bytes += len(fr.Body)
			d.message(f, fr, s)
			continue
		}
		ended = ended || isLast(fr)
		f.lane.commit(appendFrame(f.lane.begin(), f.ref, fr, f.at))
	}
	s.done(f, frames, ended)
	f.pulled(allowed, messages, bytes, ended)
}

// message sends one message by datagram, or on the stream where it does not fit. Errors of the
// session end it elsewhere.
func (d *datagrams) message(f *feed, fr *relay.Frame, s *scratch) {
	epoch, seq := uint64(fr.At.Epoch), uint64(fr.At.Seq)
	if len(fr.Body) <= wire.MaxDatagram {
		b := wire.AppendDatagram(s.buf[:0], f.ref, epoch, seq, fr.Body)
		if len(b) <= wire.MaxDatagram {
			err := d.session.SendDatagram(b)
			if !errors.Is(err, relay.ErrDatagramTooLarge) && !errors.Is(err, relay.ErrNoDatagrams) {
				return
			}
		}
	}
	f.lane.waitRoom()
	f.lane.commit(wire.AppendMessage(f.lane.begin(), f.ref, epoch, seq, fr.Body))
}
