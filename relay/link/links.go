package link

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meridian-relay/meridian/relay"
)

const (
	backoffFrom = 50 * time.Millisecond
	backoffTo   = time.Second     // the way may be back before the next attempt: who waits for it waits so long
	steadyAfter = 2 * time.Second // a link that lived so long resets the backoff
	leaveWithin = time.Minute     // an old link is closed at the latest
)

// A LinksConfig says where links lead.
type LinksConfig struct {
	// Dial opens a link; its OnGoAway is nil, so that subscriptions learn of a deadline.
	Dial func(ctx context.Context) (*Link, error)
	// Links is how many are kept, so that one congestion window does not carry all; 0: 1.
	Links int
	Log   *slog.Logger // nil: discarded
}

// Links is an Upstream over several links to the same place. A channel always takes the same
// one, which keeps its order. A link that ends is dialled again with full-jitter backoff, 50 ms
// to 1 s; meanwhile its channels are unavailable.
type Links struct {
	cfg   LinksConfig
	slots []atomic.Pointer[Link]
}

var _ relay.Upstream = (*Links)(nil)

// NewLinks returns Links; Run dials.
func NewLinks(cfg LinksConfig) *Links {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Links{cfg: cfg, slots: make([]atomic.Pointer[Link], max(cfg.Links, 1))}
}

// Run keeps the links up until ctx is done, then closes them.
func (l *Links) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for i := range l.slots {
		wg.Go(func() { l.keep(ctx, &l.slots[i], &wg) })
	}
	wg.Wait()
	return ctx.Err()
}

// keep keeps one slot filled.
func (l *Links) keep(ctx context.Context, slot *atomic.Pointer[Link], wg *sync.WaitGroup) {
	backoff := backoffFrom
	for ctx.Err() == nil {
		link, err := l.cfg.Dial(ctx)
		if err != nil {
			l.cfg.Log.Warn("upstream unreachable", "err", err, "retry_within", backoff)
			pause(ctx, rand.N(backoff))
			backoff = min(2*backoff, backoffTo)
			continue
		}
		born := time.Now()
		slot.Store(link)
		select {
		case <-link.Leaving(): // the next one is opened first
			wg.Go(func() { leave(ctx, link) })
		case <-link.Done():
			slot.CompareAndSwap(link, nil)
			l.cfg.Log.Warn("upstream link lost", "err", link.Err())
		case <-ctx.Done():
			slot.Store(nil)
			link.Close(relay.GoingAway, "the relay is stopping")
			<-link.Done()
		}
		if time.Since(born) > steadyAfter {
			backoff = backoffFrom
		}
		pause(ctx, rand.N(backoff))
		backoff = min(2*backoff, backoffTo)
	}
}

// leave waits until an old link has ended.
func leave(ctx context.Context, link *Link) {
	late := time.NewTimer(leaveWithin)
	defer late.Stop()
	select {
	case <-link.Done():
		return
	case <-late.C:
	case <-ctx.Done():
	}
	link.Close(relay.GoingAway, "its time is over")
	<-link.Done()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (l *Links) pick(c relay.Channel) *Link {
	return l.slots[xxhash.Sum64String(string(c))%uint64(len(l.slots))].Load()
}

// Publish implements relay.Upstream; ErrUnavailable while the channel's link is down.
func (l *Links) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	link := l.pick(p.Channel)
	if link == nil {
		return relay.ErrUnavailable
	}
	return link.Publish(p, answer)
}

// Subscribe implements relay.Upstream; unavailable while the channel's link is down.
func (l *Links) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	if link := l.pick(r.Channel); link != nil {
		return link.Subscribe(r, wake)
	}
	wake()
	return &refused{relay.End{
		Code: relay.Unavailable, RetryAfter: backoffFrom,
		Detail: "no link to the home for now",
	}}
}

// refused is a subscription that only ends.
type refused struct{ end relay.End }

func (r *refused) Next(dst []relay.Frame, maxBytes int) []relay.Frame {
	if maxBytes <= 0 {
		return dst
	}
	return append(dst, relay.Frame{Kind: relay.KindEnd, End: &r.end})
}

func (*refused) Close() {}
