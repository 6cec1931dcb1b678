package relaytest

import (
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// A FakeSubscription is a subscription on a Fake.
type FakeSubscription struct {
	// Set at construction.
	Request relay.SubscribeRequest
	fake    *Fake
	wake    func()

	// Guarded by fake.mu.
	armed   bool
	closed  bool
	ended   bool
	waiting []relay.Frame
	lent    [][]byte
	taken   int
}

var _ relay.Subscription = (*FakeSubscription)(nil)

// Push appends frames, and wakes the subscriber if it waits. Bodies are copied.
func (s *FakeSubscription) Push(frames ...relay.Frame) {
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	if s.closed {
		return
	}
	for _, f := range frames {
		f.Body = append([]byte(nil), f.Body...)
		s.waiting = append(s.waiting, f)
	}
	if s.armed && len(s.waiting) > 0 {
		s.armed = false
		s.wake()
	}
}

// OK pushes the first frame: the subscription begins at, and the head is there too.
func (s *FakeSubscription) OK(at relay.Position) {
	s.Push(relay.Frame{Kind: relay.KindOK, At: at, Next: at})
}

// Message pushes a message.
func (s *FakeSubscription) Message(at relay.Position, body []byte) {
	s.Push(relay.Frame{Kind: relay.KindMessage, At: at, Body: body})
}

// End pushes the last frame.
func (s *FakeSubscription) End(end relay.End) {
	s.Push(relay.Frame{Kind: relay.KindEnd, End: &end})
}

// Closed reports whether the subscriber closed it.
func (s *FakeSubscription) Closed() bool {
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	return s.closed
}

// AwaitClosed waits until the subscriber closed it.
func (s *FakeSubscription) AwaitClosed(t testing.TB) {
	t.Helper()
	s.fake.await(t, "Close", func() bool { return s.closed })
}

// AwaitTaken waits until n frames in all were taken.
func (s *FakeSubscription) AwaitTaken(t testing.TB, n int) {
	t.Helper()
	s.fake.await(t, "Next", func() bool { return s.taken >= n })
}

// AwaitArmed waits until everything pushed was taken and the subscriber waits for more.
func (s *FakeSubscription) AwaitArmed(t testing.TB) {
	t.Helper()
	s.fake.await(t, "Next", func() bool { return s.armed && len(s.waiting) == 0 })
}

// Next implements relay.Subscription.
func (s *FakeSubscription) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	s.destroy()
	if maxBytes <= 0 {
		return dst
	}
	n := 0
	for len(s.waiting) > 0 && !s.ended && n < maxBytes {
		f := s.waiting[0]
		s.waiting = s.waiting[1:]
		dst = append(dst, f)
		s.lent = append(s.lent, f.Body)
		s.ended = f.Kind == relay.KindEnd
		s.taken++
		n += len(f.Body)
	}
	s.armed = !s.ended && !s.closed && n < maxBytes
	s.fake.change()
	return dst
}

// Close implements relay.Subscription.
func (s *FakeSubscription) Close() {
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	s.destroy()
	s.closed, s.armed, s.waiting = true, false, nil
	s.fake.change()
}

// destroy overwrites the bodies that were lent.
func (s *FakeSubscription) destroy() {
	for _, b := range s.lent {
		for i := range b {
			b[i] = 0xdb
		}
	}
	s.lent = s.lent[:0]
}
