package hub

import "sync/atomic"

type counters struct {
	subs, private, feeds, lostTopics                  atomic.Int64
	opened, messages, bytes, gaps, repeated, unjoined atomic.Uint64
	resumed, evicted, refused, wakes, fellBehind      atomic.Uint64
}

// Stats are a hub's figures. Gauges are of now, the rest counts since New.
type Stats struct {
	Topics        int64  // gauge: channels
	Subscriptions int64  // gauge
	Private       int64  // gauge: limited subscriptions passed through
	Feeds         int64  // gauge: catch-up subscriptions
	Lost          int64  // gauge: channels whose way to the home is interrupted
	RingBytes     int64  // gauge: of all rings, what subscribers hold lent included
	HeldBytes     int64  // gauge: of chunks that only subscribers hold any more
	Opened        uint64 // upstream subscriptions
	Messages      uint64 // taken from the upstream
	Bytes         uint64 // of their bodies
	Gaps          uint64
	Repeated      uint64 // dropped: at or before a position already had
	Unjoined      uint64 // messages that did not follow, with no gap before them: asked again
	Resumed       uint64 // live upstream subscriptions opened anew after an end
	Evicted       uint64 // chunks dropped because all rings together were too large
	FellBehind    uint64 // cursors that fell out of a ring
	Refused       uint64 // subscriptions refused with busy
	Wakes         uint64
}

// Stats returns the figures of now. Safe for concurrent use.
func (h *Hub) Stats() Stats {
	c := &h.count
	return Stats{
		Topics: h.n.Load(), Subscriptions: c.subs.Load(), Private: c.private.Load(),
		Feeds: c.feeds.Load(), Lost: c.lostTopics.Load(),
		RingBytes: h.budget.used.Load(), HeldBytes: h.budget.held.Load(),
		Opened: c.opened.Load(), Messages: c.messages.Load(), Bytes: c.bytes.Load(),
		Gaps: c.gaps.Load(), Repeated: c.repeated.Load(), Unjoined: c.unjoined.Load(),
		Resumed: c.resumed.Load(), Evicted: c.evicted.Load(), FellBehind: c.fellBehind.Load(),
		Refused: c.refused.Load(), Wakes: c.wakes.Load(),
	}
}
