package channel

import (
	"fmt"
	"strings"
	"time"

	"github.com/meridian-relay/meridian/internal/planted"
	"github.com/meridian-relay/meridian/relay"
)

// A Batch applies commands to a view. Records that several commands touch are read and written
// once; grouping the same commands differently leaves the same view. Not for concurrent use.
//
// Begin, commands, Commit, and again.
type Batch struct {
	v         View
	shard     shard
	dirty     bool // shard
	policies  map[relay.Namespace]*Policy
	owners    map[relay.Namespace]*ownership
	channels  map[relay.Channel]*state
	producers map[producerID]*producer
	subjects  map[relay.Subject]*subject
	free      []*state
	removals  []removal

	freeProducers []*producer
	key           []byte // scratch

	reuse bool // planted.ReuseSeq, just after a restart
}

// A state is a channel's record while a batch holds it.
type state struct {
	head
	policy *Policy
	owned  bool // checked, in this batch
	exists bool
	dirty  bool
}

// NewBatch returns a Batch that has not begun.
func NewBatch() *Batch {
	return &Batch{
		key:       make([]byte, 0, 512), // as long as any key
		policies:  make(map[relay.Namespace]*Policy),
		owners:    make(map[relay.Namespace]*ownership),
		channels:  make(map[relay.Channel]*state),
		producers: make(map[producerID]*producer),
		subjects:  make(map[relay.Subject]*subject),
	}
}

// Begin starts a batch on v at the time given. Time that runs backwards stands still instead.
func (b *Batch) Begin(v View, now time.Time) {
	b.v = v
	b.shard = loadShard(v)
	b.Advance(now)
}

// Advance lets time pass within a batch: what follows happens at the time given.
func (b *Batch) Advance(now time.Time) {
	if ms := uint64(max(now.UnixMilli(), 0)); ms > b.shard.time {
		b.shard.time, b.dirty = ms, true
	}
}

// Time returns the shard's time as of the batch, see Time.
func (b *Batch) Time() uint64 { return b.shard.time }

// Restarted says whether the process has just begun, which must not matter: planted.ReuseSeq.
func (b *Batch) Restarted(yes bool) { b.reuse = yes }

// Commit writes what the batch still holds.
func (b *Batch) Commit() {
	b.flush()
	for _, s := range b.channels {
		s.policy = nil
		if len(b.free) < 256 {
			b.free = append(b.free, s)
		}
	}
	clear(b.channels)
	clear(b.policies)
	clear(b.owners)
	for _, p := range b.producers {
		if len(b.freeProducers) < 256 {
			*p = producer{tail: p.tail[:0]}
			b.freeProducers = append(b.freeProducers, p)
		}
	}
	clear(b.producers)
	clear(b.subjects)
	b.v = nil
}

// flush writes what the batch holds, and goes on holding it.
func (b *Batch) flush() {
	b.flushProducers()
	for ch, s := range b.channels {
		b.write(ch, s)
	}
	if b.dirty {
		b.v.Set([]byte{kindShard}, b.shard.append(make([]byte, 0, 48)))
		b.dirty = false
	}
}

func (b *Batch) write(ch relay.Channel, s *state) {
	if s.dirty && s.exists {
		b.v.Set(appendName(b.key[:0], kindHead, ch), s.append(make([]byte, 0, 96)))
	}
	s.dirty = false
}

// open returns a channel that this shard owns. A channel that does not exist has exists false.
func (b *Batch) open(ch relay.Channel) (*state, relay.End) {
	if s, ok := b.channels[ch]; ok && s.owned {
		return s, relay.End{}
	}
	if _, err := relay.ParseChannel(string(ch)); err != nil {
		return nil, relay.End{Code: relay.BadChannel, Detail: err.Error()}
	}
	if _, end := b.policy(ch.Namespace()); end.Code != relay.Done {
		return nil, end
	}
	if end := b.owned(ch); end.Code != relay.Done {
		return nil, end
	}
	s := b.load(ch)
	s.owned = true
	return s, relay.End{}
}

// load returns a channel, whoever owns it.
func (b *Batch) load(ch relay.Channel) *state {
	if s, ok := b.channels[ch]; ok {
		return s
	}
	s := &state{}
	if n := len(b.free); n > 0 {
		s, b.free = b.free[n-1], b.free[:n-1]
	}
	s.policy, _ = b.policy(ch.Namespace())
	s.owned = false
	s.exists = loadHead(b.v, b.key, ch, &s.head)
	if planted.On(planted.ReuseSeq) && b.reuse && s.at.Seq > 0 {
		s.at.Seq--
	}
	b.channels[ch] = s
	return s
}

func (b *Batch) policy(ns relay.Namespace) (*Policy, relay.End) {
	if p, ok := b.policies[ns]; ok {
		return p, relay.End{}
	}
	p, end := loadPolicy(b.v, b.key, ns)
	if end.Code != relay.Done {
		return nil, end
	}
	b.policies[ns] = &p
	return &p, end
}

func loadPolicy(r Reader, key []byte, ns relay.Namespace) (Policy, relay.End) {
	v, ok := r.Get(appendName(key[:0], kindPolicy, ns))
	if !ok {
		return Policy{}, unknownNamespace(r, ns)
	}
	return decodePolicy(string(ns), v), relay.End{}
}

func unknownNamespace(r Reader, ns relay.Namespace) relay.End {
	var names []string
	for k := range r.Ascend([]byte{kindPolicy}, []byte{kindPolicy + 1}) {
		if len(names) == 8 {
			names = append(names, "…")
			break
		}
		names = append(names, string(k[1:]))
	}
	known := "none is defined"
	if len(names) > 0 {
		known = "defined are " + strings.Join(names, ", ")
	}
	return relay.End{
		Code:   relay.UnknownNamespace,
		Detail: fmt.Sprintf("namespace %q is not defined here; %s", ns, known),
	}
}

// SetPolicy defines a namespace, or changes its policy. Channels that exist are held to it as
// Due finds them, in bounded steps.
func (b *Batch) SetPolicy(ns relay.Namespace, p Policy) error {
	if _, err := relay.ParseNamespace(string(ns)); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return fmt.Errorf("namespace %q: %w", ns, err)
	}
	p = p.filled()
	if _, known := b.v.Get(appendName(b.key[:0], kindPolicy, ns)); known {
		b.v.Set(appendName(b.key[:0], kindSweep, ns), append([]byte{recordVersion}, ns+":"...))
	}
	b.v.Set(appendName(b.key[:0], kindPolicy, ns), p.append(nil))
	if held, ok := b.policies[ns]; ok {
		*held = p // the channels that the batch holds point to it
	}
	return nil
}

// SetLimits bounds the tables of producers.
func (b *Batch) SetLimits(l Limits) {
	b.shard.limits, b.dirty = l.filled(), true
}

// Raise raises the floor: every epoch that begins from now on is greater than floor. With
// broken, every channel's continuity is broken: its next publish begins a new epoch, and its
// producers are closed.
func (b *Batch) Raise(floor relay.Epoch, broken bool) {
	b.shard.floor = max(b.shard.floor, floor)
	if broken {
		b.shard.broken = b.shard.floor
	}
	b.dirty = true
}
