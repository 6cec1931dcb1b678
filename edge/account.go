package edge

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// How long a peer waits for a slot that others of its scope hold.
const (
	sessionRetry      = 5 * time.Second
	subscriptionRetry = 10 * time.Second
	// publishRetry is the least wait after a publish too many. A client that goes back sends its
	// whole window again; after a shorter wait the most of it would be refused once more.
	publishRetry = 100 * time.Millisecond
)

// An account counts what one session, subject or address has, and holds it to its Scope.
type account struct {
	// Set at construction.
	scope string // "session", "subject" or "address": in messages, and a metric's label

	mu            sync.Mutex
	limits        Scope
	sessions      int
	subscriptions int
	subscribes    *rate.Limiter // nil until the first subscription
	publishes     *rate.Limiter // nil until the first publish
	bytes         *rate.Limiter // as publishes
}

// setLimits puts other limits in force. What is held already stays.
func (a *account) setLimits(s Scope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = s
	now := time.Now()
	if a.subscribes != nil {
		a.subscribes.SetLimitAt(now, perSecond(s.Subscribes))
		a.subscribes.SetBurstAt(now, s.subscribeBurst())
	}
	if a.publishes != nil {
		a.publishes.SetLimitAt(now, perSecond(s.Publishes))
		a.publishes.SetBurstAt(now, s.publishBurst())
		a.bytes.SetLimitAt(now, perSecond(s.Bytes))
		a.bytes.SetBurstAt(now, s.byteBurst())
	}
}

func perSecond(v float64) rate.Limit {
	if v < 0 {
		return rate.Inf
	}
	return rate.Limit(v)
}

func (s Scope) publishBurst() int { return max(1, int(min(s.Publishes, 1e9))) }

func (s Scope) subscribeBurst() int { return max(1, s.Subscriptions, int(min(s.Subscribes, 1e9))) }

// byteBurst leaves room for one message of any size.
func (s Scope) byteBurst() int { return max(wire.MaxMessage, int(min(s.Bytes, 1<<40))) }

func (a *account) openSession() relay.End {
	a.mu.Lock()
	defer a.mu.Unlock()
	if most := a.limits.Sessions; most >= 0 && a.sessions >= most {
		return a.over(relay.TooManySessions, sessionRetry, "%d sessions", most)
	}
	a.sessions++
	return relay.End{}
}

func (a *account) closeSession() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions--
}

func (a *account) subscribe(now time.Time) relay.End {
	a.mu.Lock()
	defer a.mu.Unlock()
	if most := a.limits.Subscriptions; most >= 0 && a.subscriptions >= most {
		return a.over(relay.TooManySubscriptions, subscriptionRetry, "%d subscriptions", most)
	}
	if a.subscribes == nil {
		a.subscribes = rate.NewLimiter(perSecond(a.limits.Subscribes), a.limits.subscribeBurst())
	}
	if wait := waitFor(a.subscribes, now, 1); wait > 0 {
		return a.over(relay.RequestRate, wait, "%.0f new subscriptions/s", a.limits.Subscribes)
	}
	a.subscribes.AllowN(now, 1)
	a.subscriptions++
	return relay.End{}
}

func (a *account) unsubscribe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subscriptions--
}

// publish takes n messages of so many bytes together. What is refused is not counted.
func (a *account) publish(now time.Time, n, bytes int) relay.End {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.publishes == nil {
		a.publishes = rate.NewLimiter(perSecond(a.limits.Publishes), a.limits.publishBurst())
		a.bytes = rate.NewLimiter(perSecond(a.limits.Bytes), a.limits.byteBurst())
	}
	if wait := waitFor(a.publishes, now, n); wait > 0 {
		return a.over(relay.PublishRate, max(wait, publishRetry), "%.0f publishes/s", a.limits.Publishes)
	}
	if wait := waitFor(a.bytes, now, bytes); wait > 0 {
		return a.over(relay.ByteRate, max(wait, publishRetry), "%.0f published bytes/s", a.limits.Bytes)
	}
	a.publishes.AllowN(now, min(n, a.publishes.Burst()))
	a.bytes.AllowN(now, min(bytes, a.bytes.Burst()))
	return relay.End{}
}

// waitFor returns how long until l has n tokens; 0: it has. More than l ever holds count as all
// that it holds.
func waitFor(l *rate.Limiter, now time.Time, n int) time.Duration {
	if l.Limit() == rate.Inf {
		return 0
	}
	missing := float64(min(n, l.Burst())) - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
}

func (a *account) over(code relay.Code, retry time.Duration, format string, most any) relay.End {
	return relay.End{
		Code:       code,
		RetryAfter: retry,
		Detail:     fmt.Sprintf("the limit of this %s is "+format, a.scope, most),
	}
}
