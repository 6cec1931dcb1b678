package core

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// BareConfig configures a Bare. The zero value works, but has no namespaces.
type BareConfig struct {
	// Namespaces are the policies of all namespaces.
	Namespaces map[relay.Namespace]channel.Policy
	// Limits bound the tables of producers; zero: the defaults of channel.Limits.
	Limits channel.Limits
	// Floor is what every epoch exceeds. 0: the time of New in Unix milliseconds, so that
	// positions of an earlier process are never mistaken for positions of this one.
	Floor relay.Epoch
	// Queue bounds the publishes that wait, in bytes; 512 count for each besides its body.
	// 0: 16 MiB.
	Queue int
	// Memory bounds the state as a whole, in bytes; past it publishes get Busy. 0: 4 GiB.
	Memory int64
	// Subscriptions bounds how many are open; past it they get Busy. 0: 1,000,000.
	Subscriptions int
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Log receives what an operator should know. nil: slog.Default().
	Log *slog.Logger
}

func (c BareConfig) filled() BareConfig {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Floor == 0 {
		c.Floor = relay.Epoch(max(c.Now().UnixMilli(), 0))
	}
	if c.Queue == 0 {
		c.Queue = 16 << 20
	}
	if c.Memory == 0 {
		c.Memory = 4 << 30
	}
	if c.Subscriptions == 0 {
		c.Subscriptions = 1_000_000
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// A Bare is a home in memory: the channel machine behind the seam, in one process, owning every
// channel. What it acknowledged lasts as long as the process does.
type Bare struct {
	// Set at construction.
	cfg BareConfig

	// Owned by Run.
	batch   *channel.Batch
	taken   []command
	touched []shard.Touched
	waking  []*subscription
	behind  bool // upkeep did not finish
	applied int  // publishes since upkeep

	// Guarded by mu. Readers hold it for one Next, Run for a few hundred commands.
	mu   sync.RWMutex
	view *memview.View

	queue  queue
	topics topics
}

var _ relay.Upstream = (*Bare)(nil)

// NewBare returns a Bare; nothing moves until Run. A policy that cannot be kept is an error.
func NewBare(cfg BareConfig) (*Bare, error) {
	cfg = cfg.filled()
	b := &Bare{cfg: cfg, batch: channel.NewBatch(), view: memview.New()}
	b.queue.init(cfg.Queue)
	b.topics.init(cfg.Subscriptions)
	b.batch.Begin(b.view, cfg.Now())
	b.batch.Raise(cfg.Floor, false)
	b.batch.SetLimits(cfg.Limits)
	b.batch.Commit()
	if err := b.Define(cfg.Namespaces); err != nil {
		return nil, err
	}
	return b, nil
}

// Define adds namespaces, and changes the policies of those that are there; channels that exist
// follow within the next rounds of retention. After an error nothing has changed. Safe for
// concurrent use, also before Run.
func (b *Bare) Define(namespaces map[relay.Namespace]channel.Policy) error {
	for ns, p := range namespaces {
		if _, err := relay.ParseNamespace(string(ns)); err != nil {
			return fmt.Errorf("core: %w", err)
		}
		if err := p.Check(); err != nil {
			return fmt.Errorf("core: namespace %q: %w", ns, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := channel.NewBatch() // Run's is open only under mu, but Run's alone
	batch.Begin(b.view, b.cfg.Now())
	defer batch.Commit()
	for ns, p := range namespaces {
		if err := batch.SetPolicy(ns, p); err != nil {
			return fmt.Errorf("core: %w", err)
		}
		batch.Own(ns, 0, relay.Slots-1)
	}
	return nil
}

// Publish implements relay.Upstream.
func (b *Bare) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	return b.queue.push(p, answer)
}

// Subscribe implements relay.Upstream.
func (b *Bare) Subscribe(r relay.SubscribeRequest, wake func()) relay.Subscription {
	return b.topics.subscribe(b, r, wake)
}

// applyAtOnce is how many commands are applied under one hold of the lock, so that no reader
// waits for long.
const applyAtOnce = 256

// Run applies publishes, wakes subscriptions and keeps retention, until ctx is done. Then it
// answers Unknown to what waits, ends every subscription with Unavailable, and returns nil.
func (b *Bare) Run(ctx context.Context) error {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.stop()
			return nil
		case <-b.queue.signal:
		case <-tick.C:
			b.behind = true
		}
		b.taken = b.queue.take(b.taken)
		for rest := b.taken; len(rest) > 0; {
			n := min(len(rest), applyAtOnce)
			b.apply(rest[:n])
			rest = rest[n:]
		}
		if b.applied += len(b.taken); b.behind || b.applied >= messagesAtOnce {
			b.upkeep()
		}
	}
}

// apply applies commands, answers them, and wakes whoever waits for their channels.
func (b *Bare) apply(list []command) {
	b.mu.Lock()
	b.batch.Begin(b.view, b.cfg.Now())
	full := b.view.Size() > b.cfg.Memory
	for i := range list {
		c := &list[i]
		if full {
			c.end = relay.End{Code: relay.Busy, RetryAfter: time.Second, Detail: "the home's memory is full"}
			continue
		}
		if c.at, c.end = b.batch.Publish(c.p); c.end.Code == relay.Done {
			if n := len(b.touched); n == 0 || b.touched[n-1].Channel != c.p.Channel {
				b.touched = append(b.touched, shard.Touched{Channel: c.p.Channel, Epoch: c.at.Epoch})
			}
		}
	}
	b.batch.Commit()
	b.mu.Unlock()
	b.waking = b.topics.collect(b, b.touched, b.waking)
	b.touched = b.touched[:0]
	b.queue.done(list)
	for i := range list {
		list[i].answer(list[i].at, list[i].end)
		list[i] = command{}
	}
	b.waking = wakeAll(b.waking)
}

// stop answers and ends everything.
func (b *Bare) stop() {
	for _, c := range b.queue.close(b.taken) {
		c.answer(relay.Position{}, relay.End{Code: relay.Unknown, Detail: "the home is shutting down"})
	}
	b.topics.stop()
}

// A bareReader is a Bare's state while its lock is held.
type bareReader struct {
	*memview.View
	bare *Bare
}

func (r bareReader) Err() error { return nil }
func (r bareReader) Close()     { r.bare.mu.RUnlock() }

// read implements source.
func (b *Bare) read() shard.Reader {
	b.mu.RLock()
	return bareReader{b.view, b}
}

func (b *Bare) lends() bool                  { return false }
func (b *Bare) standing() (bool, *relay.End) { return false, nil }
func (b *Bare) barrier(func(relay.End)) bool { return false }
func (b *Bare) failed(err error)             { b.cfg.Log.Error("home cannot be read", "err", err) }
func (b *Bare) now() time.Time               { return b.cfg.Now() }
