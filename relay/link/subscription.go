package link

import (
	"context"
	"sync"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

const (
	noWindow = relay.MaxNumber / 2 // credit that is never used up

	catchUpWindow = 1 << 20 // bytes
)

// A backlog bounds the bytes that wait in subscriptions without a window. Who reads the
// session waits while it is full.
type backlog struct {
	most int

	mu     sync.Mutex
	bytes  int
	room   chan struct{} // closed when there is room; nil: nobody waits
	closed bool
}

func (b *backlog) add(n int) {
	b.mu.Lock()
	for b.bytes > b.most && !b.closed {
		if b.room == nil {
			b.room = make(chan struct{})
		}
		room := b.room
		b.mu.Unlock()
		<-room
		b.mu.Lock()
	}
	b.bytes += n
	b.mu.Unlock()
}

func (b *backlog) remove(n int) {
	b.mu.Lock()
	b.bytes -= n
	if b.room != nil && b.bytes <= b.most {
		close(b.room)
		b.room = nil
	}
	b.mu.Unlock()
}

func (b *backlog) close() {
	b.mu.Lock()
	b.closed = true
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
	b.mu.Unlock()
}

// A subscription is one of a Link's.
type subscription struct {
	// Set at construction.
	link   *Link
	ref    uint64
	window int // bytes; below 0: none
	wake   func()

	mu      sync.Mutex
	waiting []relay.Frame
	chunk   []byte         // that the next body goes to; its part in use is never written again
	held    *held          // where bodies go instead, if they are lent; nil: whoever has them keeps them
	bytes   int            // of bodies that wait
	credit  int            // bytes that the peer may still send
	spent   int            // bytes taken, and not yet granted again
	at      relay.Position // of the last message by datagram or stream, if free
	begun   bool           // OK was put
	armed   bool           // wake is due when a frame comes
	last    bool           // the last End was put
	closed  bool

	// Set at construction too; here beside other flags, which saves 16 bytes of each.
	free bool // datagrams take no credit
}

var _ relay.Subscription = (*subscription)(nil)

// Subscribe implements relay.Upstream, with the link's default options. What does not begin
// live has a window nevertheless: a hub reads history at its subscribers' pace, and what it does
// not read must not fill the backlog.
func (l *Link) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	o, s := l.cfg.Default, &subscription{}
	if o.Window < 0 && (r.From.Kind != relay.StartLive || r.Limit > 0) {
		o.Window = catchUpWindow
		s.held = &held{}
	}
	return l.subscribe(s, r, o, wake)
}

// SubscribeWith is Subscribe with options for this subscription. Bodies stay as they are beyond the
// next call of Next.
func (l *Link) SubscribeWith(r relay.SubscribeRequest, o Options, wake func()) relay.Subscription {
	return l.subscribe(&subscription{}, r, o, wake)
}

func (l *Link) subscribe(s *subscription, r relay.SubscribeRequest, o Options, wake func()) relay.Subscription {
	s.link, s.window, s.wake, s.armed = l, o.Window, wake, true
	s.free = o.Datagram && l.session.Peer().Carrier != relay.WebSocket
	if s.window == 0 {
		s.window = defaultCredit
	}
	credit := uint64(noWindow)
	if s.window > 0 {
		credit = uint64(s.window)
		s.credit = s.window
	}
	m := &wire.Subscribe{
		Channel: string(r.Channel), Start: wire.Start(r.From.Kind),
		Epoch: uint64(r.From.After.Epoch), Seq: uint64(r.From.After.Seq),
		Count: r.From.Count, SinceMs: millis(r.From.Since), Mode: wire.Mode(r.Mode),
		Limit: r.Limit, Barrier: r.Barrier, Own: o.Own, Datagram: o.Datagram,
		Credit: credit, Subject: string(r.Subject),
	}
	l.mu.Lock()
	if l.ended {
		end := relay.End{Code: relay.LinkLost, Detail: errEnded.Error()}
		l.mu.Unlock()
		s.put(relay.Frame{Kind: relay.KindEnd, End: &end}, nil)
		return s
	}
	ref, b := l.next()
	s.ref = ref
	l.subs[ref] = s
	l.up.commit(wire.AppendProto(b, wire.TypeSubscribe, ref, m))
	read := s.free && !l.datagrams
	if read {
		l.datagrams = true
		l.readers.Add(1)
	}
	l.mu.Unlock()
	if read {
		go l.readDatagrams()
	}
	return s
}

// readDatagrams runs from the first subscription by datagram on.
func (l *Link) readDatagrams() {
	defer l.readers.Done()
	for {
		b, err := l.session.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		if ref, epoch, seq, body, err := wire.ScanDatagram(b); err == nil {
			l.deliver(ref, relay.Frame{Kind: relay.KindMessage, At: position(epoch, seq), Body: body}, nil)
		}
	}
}

// deliver gives a frame to the subscription ref; a frame for one that ended is dropped. False:
// the peer sent more than it had credit for. b is the burst that it came in; nil: alone.
func (l *Link) deliver(ref uint64, fr relay.Frame, b *burst) bool {
	l.mu.Lock()
	s := l.subs[ref]
	if s != nil && isLast(&fr) {
		delete(l.subs, ref)
	}
	l.mu.Unlock()
	if s == nil {
		return true
	}
	if s.window < 0 && fr.Kind == relay.KindMessage {
		if b != nil {
			b.wake() // nobody waits beside who waits for room
		}
		l.backlog.add(len(fr.Body))
	}
	return s.put(fr, b)
}

func (l *Link) snapshot() []*subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*subscription, 0, len(l.subs))
	for _, s := range l.subs {
		list = append(list, s)
	}
	return list
}

// put queues a frame, whose body it copies.
func (s *subscription) put(fr relay.Frame, b *burst) bool {
	s.mu.Lock()
	if s.closed || s.last {
		s.mu.Unlock()
		s.release(len(fr.Body))
		return true
	}
	if fr.Kind == relay.KindMessage {
		if s.window > 0 && !s.free {
			if s.credit <= 0 {
				s.mu.Unlock()
				return false
			}
			s.credit -= len(fr.Body)
		}
		if s.free && !s.fresh(fr.At) {
			s.mu.Unlock()
			return true
		}
		fr.Body = s.keep(fr.Body)
		s.bytes += len(fr.Body)
	}
	s.begun = s.begun || fr.Kind == relay.KindOK
	s.last = s.last || isLast(&fr)
	s.waiting = append(s.waiting, fr)
	wake := s.armed
	s.armed = false
	later := b != nil && s.held != nil // nobody waits for room meanwhile: it has a window
	s.mu.Unlock()
	switch {
	case wake && later:
		b.due = append(b.due, s)
	case wake:
		s.wake()
	}
	return true
}

// fresh reports whether a message of a subscription by datagram is to be kept: not before its
// OK, not overtaken, and not past its window, for a later one will say more. s.mu is held.
func (s *subscription) fresh(at relay.Position) bool {
	if !s.begun || !s.at.Before(at) || s.bytes > max(s.window, defaultCredit) {
		return false
	}
	s.at = at
	return true
}

// keep copies body to where it can be lent from. s.mu is held.
func (s *subscription) keep(body []byte) []byte {
	if s.held != nil {
		return s.held.keep(body)
	}
	if len(body) > cap(s.chunk)-len(s.chunk) {
		// A quiet subscription holds little; a busy one few chunks.
		size := min(max(2*cap(s.chunk), leastSize), chunkSize)
		s.chunk = make([]byte, 0, max(size, len(body)))
	}
	n := len(s.chunk)
	s.chunk = append(s.chunk, body...)
	return s.chunk[n:len(s.chunk):len(s.chunk)]
}

// release returns the room of n bytes in the link's backlog.
func (s *subscription) release(n int) {
	if s.window < 0 && n > 0 {
		s.link.backlog.remove(n)
	}
}

// Next implements relay.Subscription. What it returns counts as taken: waiting until it is no
// longer lent would wait for ever for a consumer that waits for wake.
func (s *subscription) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	if maxBytes <= 0 && s.held == nil {
		return dst // what was lent is never written again: there is nothing to end
	}
	s.mu.Lock()
	if s.held != nil {
		s.held.back()
	}
	if maxBytes <= 0 {
		s.mu.Unlock()
		return dst
	}
	var bytes, n, messages int
	for n < len(s.waiting) && bytes < maxBytes {
		if fr := &s.waiting[n]; fr.Kind == relay.KindMessage {
			bytes += len(fr.Body)
			messages++
		}
		n++
	}
	if s.held != nil {
		s.held.take(messages)
	}
	dst = append(dst, s.waiting[:n]...)
	if n == len(s.waiting) {
		clear(s.waiting)
		s.waiting = s.waiting[:0]
		if cap(s.waiting) > 256 {
			s.waiting = nil
		}
	} else {
		clear(s.waiting[:n])
		s.waiting = s.waiting[n:]
	}
	s.bytes -= bytes
	s.armed = bytes < maxBytes && !s.last // then nothing waits any more
	grant := s.take(bytes)
	s.mu.Unlock()
	s.release(bytes)
	if grant > 0 {
		s.grant(grant)
	}
	return dst
}

// take counts bytes as taken, and returns the credit to grant: half a window at a time. s.mu is
// held.
func (s *subscription) take(bytes int) int {
	s.spent += bytes
	if s.window < 0 || s.free || s.last || s.spent < max(s.window/2, 1) {
		return 0
	}
	grant := s.spent
	s.spent = 0
	s.credit += grant
	return grant
}

func (s *subscription) grant(bytes int) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs[s.ref] == s {
		l.up.commit(wire.AppendCredit(l.up.begin(), s.ref, uint64(bytes)))
	}
}

// Close implements relay.Subscription.
func (s *subscription) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	bytes := s.bytes
	s.waiting, s.chunk, s.held, s.bytes = nil, nil, nil, 0
	s.mu.Unlock()
	s.release(bytes)
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs[s.ref] == s {
		delete(l.subs, s.ref)
		l.up.commit(wire.AppendFrame(l.up.begin(), wire.TypeCancel, s.ref, nil))
	}
}
