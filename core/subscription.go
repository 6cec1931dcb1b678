package core

import (
	"errors"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A subscription is a cursor that reads a source's state in Next. It has no goroutine and no
// buffer. In the middle of a history it keeps the state open for the next Next, see kept.
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
	before shard.Reader // what is lent stands in it too; nil: nothing
	since  time.Time    // when reader was opened
	more   bool         // reader has more
	keeps  bool         // it was given to topics.kept

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
	dst, err := s.readOn(a.birth, dst, maxBytes)
	if err != nil {
		s.more = false
		s.release()
		if errors.Is(err, shard.ErrNoReplica) {
			return s.end(dst[:base], &relay.End{Code: relay.Unavailable, RetryAfter: relay.BusyRetry,
				Detail: "this node's replica of the channel's shard is not there yet, or not any more"})
		}
		s.source.failed(err)
		return s.end(dst[:base], &relay.End{Code: relay.Internal, Detail: "the home cannot read its store"})
	}
	if !s.source.lends() {
		s.release()
	}
	if a.lost != s.lost && s.opened && !s.ended {
		dst = append(dst, relay.Frame{Kind: relay.KindStatus, State: state(a.lost)})
		s.lost = a.lost
	}
	if a.last != nil && !s.ended && !s.more {
		dst = s.end(dst, a.last)
	}
	if s.ended || s.more {
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

// readOn reads on in the state that was kept, and behind that in one that is opened now: what was
// committed before s was armed wakes nobody.
func (s *subscription) readOn(b birth, dst []relay.Frame, maxBytes int) ([]relay.Frame, error) {
	if s.keeps {
		s.keeps = false
		if r, since := s.topics.kept.take(s); r != nil {
			var err error
			s.reader, s.since = r, since
			base := len(dst)
			if dst, err = s.readIn(b, dst, maxBytes); err != nil || s.more || s.ended {
				return dst, err
			}
			if maxBytes -= bytesOf(dst[base:]); maxBytes <= 0 {
				s.more = true
				return dst, nil
			}
			s.before = s.reader
		}
	}
	s.since = s.source.now()
	s.reader = s.source.read()
	return s.readIn(b, dst, maxBytes)
}

func bytesOf(frames []relay.Frame) (n int) {
	for i := range frames {
		n += len(frames[i].Body)
	}
	return n
}

// readIn reads on in reader.
func (s *subscription) readIn(b birth, dst []relay.Frame, maxBytes int) ([]relay.Frame, error) {
	dst, more, err := s.read(s.reader, b, dst, maxBytes)
	if s.more = more; err == nil {
		err = s.reader.Err()
	}
	return dst, err
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
	if s.before != nil {
		s.before.Close()
		s.before = nil
	}
	if s.reader == nil {
		return
	}
	if r, ok := s.reader.(rereader); ok && s.more && !s.ended {
		r.Forget()
		s.keeps = true
		s.topics.kept.put(s, r, s.since, s.source.now())
	} else {
		s.reader.Close()
	}
	s.reader = nil
}

// Close implements relay.Subscription.
func (s *subscription) Close() {
	s.more = false
	s.release()
	if s.keeps {
		s.keeps = false
		if r, _ := s.topics.kept.take(s); r != nil {
			r.Close()
		}
	}
	s.topics.remove(s)
}
