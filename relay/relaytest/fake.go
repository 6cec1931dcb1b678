package relaytest

import (
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// patience is how long a helper waits before it fails its test.
const patience = 20 * time.Second

// A Fake is an Upstream that does what a test says. Publishes wait for Answer, subscriptions
// for Push. Wakes come from inside its lock, and bodies are destroyed when they are no longer
// lent, so that a consumer that breaks the seam's rules shows. Safe for concurrent use.
type Fake struct {
	// Guarded by mu.
	mu        sync.Mutex
	busy      bool
	publishes []*FakePublish
	subs      []*FakeSubscription
	changed   chan struct{} // closed when something comes
}

var _ relay.Upstream = (*Fake)(nil)

// NewFake returns a Fake.
func NewFake() *Fake { return &Fake{changed: make(chan struct{})} }

// change tells whoever awaits. The caller holds f.mu.
func (f *Fake) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// await waits until ok, called under f.mu, says true.
func (f *Fake) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// SetBusy makes Publish return ErrBusy, or stop doing so.
func (f *Fake) SetBusy(busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = busy
}

// A FakePublish is a publish that came to a Fake.
type FakePublish struct {
	relay.Publication
	once   sync.Once
	answer func(relay.Position, relay.End)
}

// Answer answers the publish; only the first call counts.
func (p *FakePublish) Answer(at relay.Position, end relay.End) {
	p.once.Do(func() { p.answer(at, end) })
}

// Publish implements relay.Upstream.
func (f *Fake) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy {
		return relay.ErrBusy
	}
	f.publishes = append(f.publishes, &FakePublish{Publication: p, answer: answer})
	f.change()
	return nil
}

// Publishes returns all publishes that came, in order.
func (f *Fake) Publishes() []*FakePublish {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*FakePublish(nil), f.publishes...)
}

// AwaitPublish returns publish i, counted from 0, once it came.
func (f *Fake) AwaitPublish(t testing.TB, i int) *FakePublish {
	t.Helper()
	f.await(t, "publish", func() bool { return len(f.publishes) > i })
	return f.Publishes()[i]
}

// Subscribe implements relay.Upstream.
func (f *Fake) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	s := &FakeSubscription{Request: r, fake: f, wake: wake, armed: true}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = append(f.subs, s)
	f.change()
	return s
}

// Subscriptions returns all subscriptions that were opened, also those closed since.
func (f *Fake) Subscriptions() []*FakeSubscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*FakeSubscription(nil), f.subs...)
}

// AwaitSubscription returns subscription i, counted from 0, once it was opened.
func (f *Fake) AwaitSubscription(t testing.TB, i int) *FakeSubscription {
	t.Helper()
	f.await(t, "subscription", func() bool { return len(f.subs) > i })
	return f.Subscriptions()[i]
}
