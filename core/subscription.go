package core

import (
	"errors"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A subscription is a cursor that reads a source's state in Next. It has no goroutine and no
// buffer.
type subscription struct {
	// Set at construction.
	topics  *topics
	source  source
	request relay.SubscribeRequest
	wake    func()

	// Owned by the caller of Next and Close.
	cursor channel.Cursor
	opened bool
	ended  bool
	lost   bool         // what the last Status said
	judged bool         // a barrier was waited for
	reader shard.Reader // what is lent stands in it; nil: nothing

	// Guarded by topics.mu.
	waits   bool       // for a barrier
	refusal *relay.End // instead of a beginning
	birth   birth      // since the last Next
	armed   bool       // in its topic's list: wake when there is more
	closed  bool
	next    *subscription // in the list it stands in
	prev    *subscription
}

// A birth is the epoch in which a channel began that was not there; 0: it did not.
type birth uint64

// anew says that the state was replaced as a whole: what came and went is not known.
const anew birth = 1<<64 - 1

// Next implements relay.Subscription. It arms before it reads, so that what is committed
// afterwards wakes it: a wake too many is harmless, one too few is not.
func (s *subscription) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	s.release()
	if s.ended || maxBytes <= 0 {
		return dst
	}
	a := s.topics.arm(s)
	if a.end != nil {
		return s.end(dst, a.end)
	}
	if a.waits {
		return dst
	}
	base := len(dst)
	r := s.source.read()
	dst, more, err := s.read(r, a.birth, dst, maxBytes)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		r.Close()
		if errors.Is(err, shard.ErrNoReplica) {
			return s.end(dst[:base], &relay.End{Code: relay.Unavailable, RetryAfter: relay.BusyRetry,
				Detail: "this node's replica of the channel's shard is not there yet, or not any more"})
		}
		s.source.failed(err)
		return s.end(dst[:base], &relay.End{Code: relay.Internal, Detail: "the home cannot read its store"})
	}
	if s.source.lends() {
		s.reader = r
	} else {
		r.Close()
	}
	if a.lost != s.lost && s.opened && !s.ended {
		dst = append(dst, relay.Frame{Kind: relay.KindStatus, State: state(a.lost)})
		s.lost = a.lost
	}
	if a.last != nil && !s.ended && !more {
		dst = s.end(dst, a.last)
	}
	if s.ended || more {
		s.topics.disarm(s)
	}
	return dst
}

func state(lost bool) relay.State {
	if lost {
		return relay.Lost
	}
	return relay.Restored
}

// read reads on in r.
func (s *subscription) read(r shard.Reader, b birth, dst []relay.Frame, maxBytes int) (_ []relay.Frame, more bool, err error) {
	defer mend(&err)
	if !s.opened {
		cursor, f := channel.Open(r, &s.request, s.source.now())
		if f.Kind == relay.KindOK && s.beyond(f.Next) {
			return dst, false, nil
		}
		s.cursor, s.opened = cursor, true
		dst = append(dst, f)
	} else if s.cursor.Absent() && s.request.Limit == 0 && b != anew {
		// Until its birth is told, nothing can have come.
		if b == 0 {
			return dst, false, nil
		}
		s.cursor.Born(relay.Epoch(b))
	}
	dst, more = s.cursor.Read(r, dst, maxBytes)
	s.ended = s.cursor.Ended()
	return dst, more, nil
}

// beyond reports whether s begins after the head: then this state may only be late, and a
// barrier is waited for before that is judged.
func (s *subscription) beyond(head relay.Position) bool {
	if s.judged || s.request.From.Kind != relay.StartAfter || !head.Before(s.request.From.After) {
		return false
	}
	return s.await()
}

// await has s woken when its source has everything that was acknowledged before; false: it has.
func (s *subscription) await() bool {
	s.judged = true
	t := s.topics
	t.mu.Lock()
	s.waits = true
	t.mu.Unlock()
	waits := s.source.barrier(func(end relay.End) {
		t.mu.Lock()
		s.waits = false
		if end.Code != relay.Done {
			s.refusal = &end
		}
		t.mu.Unlock()
		s.wake()
	})
	if !waits {
		t.mu.Lock()
		s.waits = false
		t.mu.Unlock()
	}
	return waits
}

func (s *subscription) end(dst []relay.Frame, end *relay.End) []relay.Frame {
	s.ended = true
	return append(dst, relay.Frame{Kind: relay.KindEnd, At: s.cursor.At(), End: end})
}

// release gives back what was lent.
func (s *subscription) release() {
	if s.reader != nil {
		s.reader.Close()
		s.reader = nil
	}
}

// Close implements relay.Subscription.
func (s *subscription) Close() {
	s.release()
	s.topics.remove(s)
}
