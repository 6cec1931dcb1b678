package hub

import (
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"google.golang.org/protobuf/encoding/protowire"
)

// A home is an Upstream in memory whose every move a test makes. It calls wake under its own
// lock, as the seam allows.
type home struct {
	mu     sync.Mutex
	chans  map[relay.Channel]*log
	open   map[*homeSub]bool
	opens  []relay.SubscribeRequest
	most   int            // subscriptions open at once
	served map[string]int // messages given, by kind of start
	answer *relay.End     // instead of OK
	mute   bool           // keeps new subscriptions without OK
	skew   func(*relay.Frame) bool
}

type log struct {
	first relay.Position
	at    relay.Position
	list  []relay.Frame // messages and epoch gaps
}

type homeSub struct {
	h     *home
	r     relay.SubscribeRequest
	wake  func()
	armed bool
	ok    bool
	done  bool
	end   *relay.End
	at    relay.Position
	stop  relay.Position
}

func newHome() *home {
	return &home{chans: map[relay.Channel]*log{}, open: map[*homeSub]bool{}, served: map[string]int{}}
}

func (h *home) log(ch relay.Channel) *log {
	l := h.chans[ch]
	if l == nil {
		l = &log{at: relay.Position{Epoch: 1}, first: relay.Position{Epoch: 1, Seq: 1}}
		h.chans[ch] = l
	}
	return l
}

func body(key string, payload []byte) []byte {
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	b = protowire.AppendBytes(b, payload)
	if key != "" {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, key)
	}
	return b
}

// numbered is a body that says its own position, so that a reader can check it.
func numbered(p relay.Position, size int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Seq))
	for len(b) < size {
		b = append(b, byte(p.Seq))
	}
	return body("", b)
}

// publish adds n messages of about size bytes.
func (h *home) publish(ch relay.Channel, n, size int) relay.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log(ch)
	for range n {
		l.at = l.at.Next()
		l.list = append(l.list, relay.Frame{Kind: relay.KindMessage, At: l.at, Body: numbered(l.at, size)})
	}
	h.ring(ch)
	return l.at
}

func (h *home) publishKey(ch relay.Channel, key, payload string) relay.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log(ch)
	l.at = l.at.Next()
	l.list = append(l.list, relay.Frame{Kind: relay.KindMessage, At: l.at, Body: body(key, []byte(payload))})
	h.ring(ch)
	return l.at
}

// breakEpoch begins a new epoch; what was before is kept up to keep messages.
func (h *home) breakEpoch(ch relay.Channel, epoch relay.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log(ch)
	l.at = relay.Position{Epoch: epoch}
	h.ring(ch)
}

// trim removes all before p.
func (h *home) trim(ch relay.Channel, p relay.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log(ch)
	for len(l.list) > 0 && l.list[0].At.Before(p) {
		l.list = l.list[1:]
	}
	l.first = p
}

func (h *home) ring(ch relay.Channel) {
	for s := range h.open {
		if s.r.Channel == ch {
			s.ring()
		}
	}
}

func (s *homeSub) ring() {
	if s.armed {
		s.armed = false
		s.wake()
	}
}

// endAll ends every subscription that is open.
func (h *home) endAll(end relay.End) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.open {
		e := end
		s.end = &e
		s.ring()
	}
}

func (h *home) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	for s := range h.open {
		s.ring()
	}
}

func (h *home) opened() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.opens)
}

func (h *home) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	return relay.ErrBusy
}

func (h *home) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &homeSub{h: h, r: r, wake: wake, armed: true}
	h.open[s] = true
	h.opens = append(h.opens, r)
	h.most = max(h.most, len(h.open))
	s.end = h.answer
	if !h.mute {
		s.ring()
	}
	return s
}

func (s *homeSub) Close() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	delete(s.h.open, s)
}

func (s *homeSub) Next(dst []relay.Frame, most int) []relay.Frame {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log(s.r.Channel)
	if s.done {
		return dst
	}
	if !s.ok && s.end == nil {
		if h.mute {
			s.armed = true
			return dst
		}
		s.ok = true
		s.stop = l.at
		switch s.r.From.Kind {
		case relay.StartLive:
			s.at = l.at
		case relay.StartAfter:
			s.at = s.r.From.After
		case relay.StartFirst, relay.StartSince:
			s.at = prior(l.first)
			if len(l.list) == 0 {
				s.at = l.at
			}
		case relay.StartLast:
			s.at = prior(l.first)
			if n := len(l.list) - int(s.r.From.Count); n > 0 {
				s.at = l.list[n-1].At
			}
		}
		dst = append(dst, relay.Frame{Kind: relay.KindOK, At: s.at, Next: l.at})
	}
	if s.end != nil && (s.end.Deadline == 0 || !s.ok) {
		return s.finish(dst, s.end)
	}
	dst, most = s.read(l, dst, most)
	if s.r.Limit > 0 && !s.at.Before(s.stop) {
		return s.finish(dst, &relay.End{})
	}
	if s.end != nil {
		dst = append(dst, relay.Frame{Kind: relay.KindEnd, At: s.at, End: s.end})
		s.end = nil // served on until it is closed
		s.armed = true
		return dst
	}
	if most > 0 {
		s.armed = true
	}
	return dst
}

func (s *homeSub) finish(dst []relay.Frame, end *relay.End) []relay.Frame {
	s.done = true
	return append(dst, relay.Frame{Kind: relay.KindEnd, At: s.at, End: end})
}

func (s *homeSub) read(l *log, dst []relay.Frame, most int) ([]relay.Frame, int) {
	if l.at.Before(s.at) {
		dst = append(dst, relay.Frame{Kind: relay.KindGap, At: s.at, Next: l.first, Reason: relay.GapEpoch})
		s.at = prior(l.first)
	}
	newest := map[string]relay.Position{}
	if s.r.Mode == relay.Latest {
		for _, m := range l.list {
			newest[string(keyOf(m.Body))] = m.At
		}
	}
	for _, m := range l.list {
		if !s.at.Before(m.At) || most <= 0 || s.r.Limit > 0 && s.stop.Before(m.At) {
			continue
		}
		if s.r.Mode == relay.Latest && newest[string(keyOf(m.Body))] != m.At {
			s.at = m.At
			continue
		}
		if m.At != s.at.Next() && s.r.Mode == relay.Reliable {
			why := relay.GapTrimmed
			if m.At.Epoch != s.at.Epoch {
				why = relay.GapEpoch
			}
			dst = append(dst, relay.Frame{Kind: relay.KindGap, At: s.at, Next: m.At, Reason: why})
		}
		s.at = m.At
		if s.h.skew != nil && !s.h.skew(&m) {
			continue
		}
		dst = append(dst, m)
		most -= len(m.Body)
		s.h.served[[]string{"live", "after", "last", "since", "first"}[s.r.From.Kind]]++
	}
	if most > 0 && s.at.Before(l.at) {
		next := l.at.Next()
		if s.r.Mode == relay.Reliable {
			why := relay.GapTrimmed
			if next.Epoch != s.at.Epoch {
				why = relay.GapEpoch
			}
			dst = append(dst, relay.Frame{Kind: relay.KindGap, At: s.at, Next: next, Reason: why})
		}
		s.at = l.at
	}
	return dst, most
}

// start runs a hub over a home, in a bubble.
func start(t *testing.T, c Config) (*Hub, *home) {
	up := newHome()
	c.Upstream = up
	h := New(c)
	done := make(chan error, 1)
	go func() { done <- h.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return h, up
}

func bubble(t *testing.T, c Config, f func(t *testing.T, h *Hub, up *home)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, up := start(t, c)
		f(t, h, up)
	})
}

func settle(d time.Duration) {
	time.Sleep(d) // virtual
	synctest.Wait()
}
