package hub

import (
	"sync"

	"github.com/meridian-relay/meridian/relay"
)

// subscribeLimited serves a subscription with a limit from the ring, or passes it through.
func (h *Hub) subscribeLimited(r relay.SubscribeRequest, wake func()) relay.Subscription {
	if r.Mode == relay.Reliable && !r.Barrier {
		if s := h.fromRing(&r, wake); s != nil {
			return s
		}
	}
	if h.count.private.Add(1) > int64(h.cfg.Private) {
		h.count.private.Add(-1)
		h.count.refused.Add(1)
		s := &subscription{wake: wake}
		h.refuse(s, relay.End{Code: relay.Busy, Detail: "this relay reads as much history as it may; try later"})
		return s
	}
	h.count.opened.Add(1)
	return &private{Subscription: h.cfg.Upstream.Subscribe(r, wake), h: h}
}

// fromRing begins a limited subscription in the ring; nil: the ring does not cover it, or may
// lag behind the home.
func (h *Hub) fromRing(r *relay.SubscribeRequest, wake func()) relay.Subscription {
	sh := h.shard(r.Channel)
	sh.mu.Lock()
	t := sh.topics[r.Channel]
	if t == nil || sh.stopped {
		sh.mu.Unlock()
		return nil
	}
	t.mu.Lock()
	sh.mu.Unlock()
	defer t.mu.Unlock()
	if !t.known || t.end != nil || t.lost() {
		return nil
	}
	p, ok := t.within(&r.From)
	if !ok {
		return nil
	}
	s := &subscription{t: t, wake: wake, extra: &extra{limit: r.Limit, stop: t.ring.head}}
	t.subs++
	h.count.subs.Add(1)
	t.startAt(s, p)
	h.runq.schedule(t)
	return s
}

// A private subscription is passed through.
type private struct {
	relay.Subscription
	h    *Hub
	once sync.Once
}

func (p *private) Close() {
	p.once.Do(func() { p.h.count.private.Add(-1) })
	p.Subscription.Close()
}
