package core

import (
	"sync"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
)

// A subscription is a cursor that reads the view in Next. It has no goroutine and no buffer.
type subscription struct {
	// Set at construction.
	bare    *Bare
	request relay.SubscribeRequest
	wake    func()

	// Owned by the caller of Next and Close.
	opened  bool
	ended   bool
	refusal *relay.End

	// Guarded by Bare.mu: Next holds it for reading, Run for writing.
	cursor channel.Cursor

	// Guarded by topics.mu.
	armed  bool // in its topic's list: wake when there is more
	closed bool
	next   *subscription // in the list it stands in
	prev   *subscription
}

// touched is a channel that got messages, and the epoch of the first.
type touched struct {
	channel relay.Channel
	epoch   relay.Epoch
}

// topics holds who waits for what. A channel has a topic only while somebody waits for it.
type topics struct {
	// Set at construction.
	most  int
	queue *queue

	// Owned by Run.
	touched []touched
	waking  []*subscription

	// Guarded by mu, which is taken inside Bare.mu.
	mu      sync.Mutex
	armed   map[relay.Channel]*subscription // lists by next and prev
	ready   []*subscription                 // new ones: their first frame is there
	count   int
	stopped bool
}

func (t *topics) init(most int, q *queue) {
	t.most, t.queue = most, q
	t.armed = make(map[relay.Channel]*subscription)
}

func (t *topics) subscribe(b *Bare, r relay.SubscribeRequest, wake func()) *subscription {
	s := &subscription{bare: b, request: r, wake: wake}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if t.count > t.most {
		s.refusal = &relay.End{Code: relay.Busy, Detail: "too many subscriptions are open at the home"}
	}
	if t.stopped {
		go wake() // Run has ended; an End is there
		return s
	}
	t.ready = append(t.ready, s)
	t.queue.notify()
	return s
}

// Next implements relay.Subscription.
func (s *subscription) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	if s.ended || maxBytes <= 0 {
		return dst
	}
	if s.refusal != nil {
		s.ended = true
		return append(dst, relay.Frame{Kind: relay.KindEnd, End: s.refusal})
	}
	b := s.bare
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !s.opened {
		var f relay.Frame
		s.cursor, f = channel.Open(b.view, &s.request, b.cfg.Now())
		s.opened = true
		dst = append(dst, f)
	}
	dst, more := s.cursor.Read(b.view, dst, maxBytes)
	if s.ended = s.cursor.Ended(); !s.ended && !more {
		if end := b.topics.arm(s); end != nil {
			s.ended = true
			dst = append(dst, relay.Frame{Kind: relay.KindEnd, At: s.cursor.At(), End: end})
		}
	}
	return dst
}

// Close implements relay.Subscription.
func (s *subscription) Close() {
	t := &s.bare.topics
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	t.count--
	t.disarm(s)
}

// arm makes the next message of s's channel wake it; an End if there will be none. The caller
// holds Bare.mu, so that nothing comes between its look and this.
func (t *topics) arm(s *subscription) *relay.End {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return &relay.End{Code: relay.Unavailable, Detail: "the home is shutting down"}
	}
	if s.armed || s.closed {
		return nil
	}
	ch := s.request.Channel
	if s.next = t.armed[ch]; s.next != nil {
		s.next.prev = s
	}
	t.armed[ch] = s
	s.armed = true
	return nil
}

// disarm takes s out of its topic's list. The caller holds t.mu.
func (t *topics) disarm(s *subscription) {
	if !s.armed {
		return
	}
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.next != nil:
		t.armed[s.request.Channel] = s.next
	default:
		delete(t.armed, s.request.Channel)
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev, s.armed = nil, nil, false
}

// touch notes that a channel changed.
func (t *topics) touch(ch relay.Channel, epoch relay.Epoch) {
	if n := len(t.touched); n == 0 || t.touched[n-1].channel != ch {
		t.touched = append(t.touched, touched{ch, epoch})
	}
}

// collect takes the armed subscriptions of the channels touched. The caller holds Bare.mu, so
// that whoever armed itself had not seen the change.
func (t *topics) collect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.touched {
		from := len(t.waking)
		t.takeList(c.channel)
		for _, s := range t.waking[from:] {
			if s.cursor.Absent() {
				s.cursor.Born(c.epoch)
			}
		}
	}
	t.touched = t.touched[:0]
}

func (t *topics) takeList(ch relay.Channel) {
	s, ok := t.armed[ch]
	if !ok {
		return
	}
	delete(t.armed, ch)
	for s != nil {
		next := s.next
		s.next, s.prev, s.armed = nil, nil, false
		t.waking = append(t.waking, s)
		s = next
	}
}

// wakeTouched wakes what collect took, outside all locks.
func (t *topics) wakeTouched() {
	for i, s := range t.waking {
		s.wake()
		t.waking[i] = nil
	}
	t.waking = t.waking[:0]
}

// wakeReady wakes the new subscriptions.
func (t *topics) wakeReady() {
	t.mu.Lock()
	t.waking, t.ready = t.ready, t.waking
	t.mu.Unlock()
	t.wakeTouched()
}

// stop wakes everybody; who reads on finds an End.
func (t *topics) stop() {
	t.mu.Lock()
	t.stopped = true
	for ch := range t.armed {
		t.takeList(ch)
	}
	t.mu.Unlock()
	t.wakeTouched()
	t.wakeReady()
}
