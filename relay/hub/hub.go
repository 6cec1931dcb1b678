package hub

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A Config configures a Hub. Only Upstream must be set.
type Config struct {
	Upstream relay.Upstream
	// RingBytes bounds one channel's ring, bookkeeping included. A ring always holds its
	// newest message. 0: 1 MiB.
	RingBytes int
	// Budget bounds all rings together, in bytes. 0: 256 MiB.
	Budget int64
	// Linger is how long a channel that nobody listens to stays subscribed. 0: 10 s; below 0:
	// not at all.
	Linger time.Duration
	// Topics bounds the channels; past it subscriptions are refused with busy. 0: 1,000,000.
	Topics int
	// Feeds bounds the catch-up subscriptions of the process, TopicFeeds those of one channel;
	// past either, subscribers wait in order. 0: 1,024 and 8.
	Feeds, TopicFeeds int
	// FeedBytes bounds the ring of one feed, beyond the last 32 KiB of bodies pulled. 0: 256
	// KiB.
	FeedBytes int
	// Private bounds the limited subscriptions that are passed through to the upstream; past
	// it they are refused with busy. 0: 10,000.
	Private int
	// Workers is the number of goroutines that move messages. 0: one per processor.
	Workers int
	// Moved passes an End with Moved on to subscribers, who ask elsewhere: for an upstream that
	// does not know the way there. false: the upstream is asked again.
	Moved bool
	// Log gets what an operator should know. nil: nothing.
	Log *slog.Logger
}

const shards = 64

// A Hub fans out. It is an Upstream.
type Hub struct {
	cfg    Config
	count  counters
	budget budget
	runq   runq
	alarms alarms
	slots  slots
	topics [shards]shard
	n      atomic.Int64 // topics in the maps
}

var _ relay.Upstream = (*Hub)(nil)

type shard struct {
	mu      sync.Mutex
	topics  map[relay.Channel]*topic
	stopped bool
}

// New returns a Hub. Nothing moves until Run runs.
func New(c Config) *Hub {
	or(&c.RingBytes, 1<<20)
	or(&c.Budget, 256<<20)
	or(&c.Linger, 10*time.Second)
	or(&c.Topics, 1_000_000)
	or(&c.Feeds, 1024)
	or(&c.TopicFeeds, 8)
	or(&c.FeedBytes, 256<<10)
	or(&c.Private, 10_000)
	or(&c.Workers, runtime.GOMAXPROCS(0))
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{cfg: c}
	h.budget.limit = c.Budget
	h.slots.free = c.Feeds
	h.runq.ready.L = &h.runq.mu
	h.alarms.kick = make(chan struct{}, 1)
	for i := range h.topics {
		h.topics[i].topics = make(map[relay.Channel]*topic)
	}
	return h
}

func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Publish passes through.
func (h *Hub) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	return h.cfg.Upstream.Publish(p, answer)
}

// Subscribe adds a cursor to the channel's topic, which it opens if there is none. wake comes
// from a worker, without locks held and never from inside Subscribe, Next or Close. A limited
// subscription is answered from the ring where that covers it, else passed through.
func (h *Hub) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	if r.Limit > 0 {
		return h.subscribeLimited(r, wake)
	}
	s := &subscription{wake: wake, latest: r.Mode == relay.Latest}
	if r.Barrier || r.From.Kind != relay.StartLive {
		s.extra = &extra{from: r.From, barrier: r.Barrier, since: time.Now()}
	}
	if end := h.join(r.Channel, s); end != nil {
		h.refuse(s, *end)
	}
	return s
}

// join adds s to the channel's topic, or says why not.
func (h *Hub) join(ch relay.Channel, s *subscription) *relay.End {
	sh := h.shard(ch)
	sh.mu.Lock()
	if sh.stopped {
		sh.mu.Unlock()
		return &relay.End{Code: relay.GoingAway, Detail: "this relay is shutting down; use another"}
	}
	t := sh.topics[ch]
	if t == nil {
		if h.n.Load() >= int64(h.cfg.Topics) {
			sh.mu.Unlock()
			h.count.refused.Add(1)
			return &relay.End{Code: relay.Busy, Detail: "this relay listens to as many channels as it may; use another, or try later"}
		}
		t = newTopic(h, ch)
		sh.topics[ch] = t
		h.n.Add(1)
	}
	t.mu.Lock()
	sh.mu.Unlock()
	s.t = t
	t.subs++
	if s.latest {
		t.latest++
		t.ring.index()
	}
	t.begin(s)
	t.mu.Unlock()
	h.count.subs.Add(1)
	h.runq.schedule(t)
	return nil
}

// refuse makes s a subscription whose only frame is end, on a topic that is in no map.
func (h *Hub) refuse(s *subscription, end relay.End) {
	t := newTopic(h, "")
	t.end = &end
	t.subs = 1
	s.t = t
	h.count.subs.Add(1)
	t.bell.ring(s)
	if !h.runq.schedule(t) {
		go s.wake() // Run has ended: nobody else is left to call
	}
}

func (h *Hub) shard(ch relay.Channel) *shard { return &h.topics[ch.Slot()%shards] }

// remove takes t out of the map if it is there and, unless force, nobody listens. It reports
// whether t is out.
func (h *Hub) remove(t *topic, force bool) bool {
	sh := h.shard(t.channel)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.subs > 0 && !force {
		return false
	}
	if sh.topics[t.channel] == t {
		delete(sh.topics, t.channel)
		h.n.Add(-1)
	}
	return true
}
