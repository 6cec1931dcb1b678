package channel

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// An Op is what a Step does.
type Op uint8

const (
	Look    Op = iota + 1 // nothing yet: note when to look again
	Trim                  // remove everything up to Through
	Compact               // remove what was replaced, up to Through
	Forget                // forget a channel without messages and producers
	Sweep                 // hold the next channels of a namespace to its changed policy
)

func (o Op) String() string {
	return [...]string{"", "look", "trim", "compact", "forget", "sweep"}[o]
}

// A Step is one bounded piece of retention: decided by Due from a view, proposed by whoever
// leads, applied by every replica.
type Step struct {
	Op        Op
	Channel   relay.Channel
	Namespace relay.Namespace // Sweep
	Through   relay.Position  // Trim, Compact
}

// Bounds of one step.
const (
	sweepChannels = 256
	stepMessages  = 1024
)

// Due returns what retention asks for now: steps that together walk about most messages, at
// least one step if anything is due. Applying them makes room for the next. Steps are sound
// whenever they are applied, also twice.
func Due(r Reader, now time.Time, most int) []Step {
	var steps []Step
	for k := range r.Ascend([]byte{kindSweep}, []byte{kindSweep + 1}) {
		steps = append(steps, Step{Op: Sweep, Namespace: relay.Namespace(k[1:])})
		most -= sweepChannels
		break
	}
	ms := uint64(max(now.UnixMilli(), 0))
	var h head
	key := make([]byte, 0, 256)
	for k := range r.Ascend([]byte{kindDue}, appendDueKey(nil, ms+1, "")) {
		if most <= 0 {
			break
		}
		ch := relay.Channel(k[9:])
		if !loadHead(r, key, ch, &h) {
			continue
		}
		p, end := loadPolicy(r, key, ch.Namespace())
		if end.Code != relay.Done {
			continue
		}
		step, walked := stepOf(r, ch, &h, &p, ms)
		steps = append(steps, step)
		most -= walked + 16
	}
	return steps
}

// stepOf decides one channel's next step.
func stepOf(r Reader, ch relay.Channel, h *head, p *Policy, now uint64) (Step, int) {
	s := Step{Op: Look, Channel: ch}
	if h.count == 0 {
		if h.tables == 0 && h.used+ms(p.ForgetAfter) <= now {
			s.Op = Forget
		}
		return s, 0
	}
	over := func(count, bytes uint64) bool {
		return p.Count > 0 && count > p.Count || bytes > p.Bytes
	}
	if p.Keyed && !over(0, h.bytes) {
		return compaction(r, ch, h, p, now)
	}
	count, bytes, walked := h.count, h.bytes, 0
	from := appendPlace(nil, kindMessage, ch, h.first)
	for k, v := range r.Ascend(from, appendPlacesEnd(nil, kindMessage, ch)) {
		old := !p.Keyed && p.Age > 0 && wire.TimeMS(v[1:])+ms(p.Age) <= now
		if walked == stepMessages || !old && !over(count, bytes) {
			break
		}
		s.Op, s.Through = Trim, keyPosition(k)
		count--
		bytes -= uint64(len(v) - 1)
		walked++
	}
	return s, walked
}

func compaction(r Reader, ch relay.Channel, h *head, p *Policy, now uint64) (Step, int) {
	s := Step{Op: Look, Channel: ch}
	walked := 0
	from := appendPlace(nil, kindMessage, ch, h.clean.Next())
	for k, v := range r.Ascend(from, appendPlacesEnd(nil, kindMessage, ch)) {
		if walked == stepMessages || wire.TimeMS(v[1:])+grace(p) > now {
			break
		}
		s.Op, s.Through = Compact, keyPosition(k)
		walked++
	}
	return s, walked
}

func ms(d time.Duration) uint64 { return uint64(d.Milliseconds()) }

// grace is how long a message that was replaced stays, in ms.
func grace(p *Policy) uint64 {
	if p.Age == 0 {
		return ms(compactAfter)
	}
	return ms(p.Age)
}

// Apply applies a step. It reports whether the channel was forgotten.
func (b *Batch) Apply(step Step) (forgotten bool) {
	if step.Op == Sweep {
		b.sweep(step.Namespace)
		return false
	}
	s := b.load(step.Channel)
	if !s.exists || s.policy == nil {
		return false
	}
	switch step.Op {
	case Trim:
		b.trim(s, step.Channel, s.first, step.Through, false)
		if s.cut.Before(step.Through) {
			s.cut, s.dirty = step.Through, true
		}
	case Compact:
		b.trim(s, step.Channel, s.clean.Next(), step.Through, true)
		if s.clean.Before(step.Through) {
			s.clean, s.dirty = step.Through, true
		}
	case Forget:
		if s.count == 0 && s.tables == 0 && s.used+ms(s.policy.ForgetAfter) <= b.shard.time {
			b.forget(s, step.Channel)
			return true
		}
	}
	b.reschedule(s, step.Channel)
	return false
}

// A removal is a message that trim takes out.
type removal struct {
	at   relay.Position
	size uint64
	key  string
}

// trim removes the messages from first to through; with replaced only those that a newer one of
// their key replaced.
func (b *Batch) trim(s *state, ch relay.Channel, first, through relay.Position, replaced bool) {
	if through.Before(first) || s.at.Before(through) {
		return
	}
	list := b.removals[:0]
	from := appendPlace(nil, kindMessage, ch, first)
	for k, v := range b.v.Ascend(from, appendPlace(nil, kindMessage, ch, through.Next())) {
		list = append(list, removal{keyPosition(k), uint64(len(v) - 1), string(wire.Key(v[1:]))})
	}
	for _, m := range list {
		newest := s.unkeyed == m.at
		if m.key != "" {
			_, newest = b.v.Get(appendPlace(b.key[:0], kindNewest, ch, m.at))
		}
		if newest && replaced {
			continue
		}
		if newest && m.key == "" {
			s.unkeyed = relay.Position{}
		} else if newest {
			b.v.Delete(appendPlace(b.key[:0], kindNewest, ch, m.at))
			b.v.Delete(appendKeyKey(b.key[:0], ch, []byte(m.key)))
		}
		b.v.Delete(appendPlace(b.key[:0], kindMessage, ch, m.at))
		s.count--
		s.bytes -= m.size
		s.dirty = true
	}
	clear(list)
	b.removals = list
	if !replaced && s.first.Before(through.Next()) {
		s.first = through.Next() // nothing is left before it
	}
	b.findFirst(s, ch)
}

// forget removes a channel's record. The floor sees to it that its epochs never come back.
func (b *Batch) forget(s *state, ch relay.Channel) {
	b.setDue(s, ch, 0)
	b.v.Delete(appendName(b.key[:0], kindHead, ch))
	if s.at.Epoch > b.shard.floor {
		b.shard.floor, b.dirty = s.at.Epoch, true
	}
	s.head, s.exists, s.dirty = head{closed: s.closed[:0]}, false, false
}

// sweep looks at the next channels of a namespace whose policy changed.
func (b *Batch) sweep(ns relay.Namespace) {
	b.flush()
	cursor := appendName(nil, kindSweep, ns)
	next, ok := b.v.Get(cursor)
	if !ok {
		return
	}
	from := appendName(nil, kindHead, string(next[1:]))
	var list []relay.Channel
	for k := range b.v.Ascend(from, appendName(nil, kindHead, ns+";")) { // ';' follows ':'
		list = append(list, relay.Channel(k[1:]))
		if len(list) > sweepChannels {
			break
		}
	}
	if len(list) > sweepChannels {
		b.v.Set(cursor, append([]byte{recordVersion}, list[sweepChannels]...))
		list = list[:sweepChannels]
	} else {
		b.v.Delete(cursor)
	}
	for _, ch := range list {
		b.reschedule(b.load(ch), ch)
	}
}

// LateShare is the share of its age, or of its bound, by which a channel may be late for
// retention: a 64th. A busy channel that was trimmed for each message would be looked at without
// end, and leave a deleted key in the index each time, over which every look has to step.
const LateShare = 64

// late returns when to look at what is too old after age, in ms.
func late(age uint64) uint64 { return age + age/LateShare }

// burst reports whether a channel has so much more than its policy allows that it is to be
// trimmed now.
func burst(s *state, p *Policy) bool {
	return p.Count > 0 && s.count > p.Count+p.Count/LateShare || s.bytes > p.Bytes+p.Bytes/LateShare
}

// schedule makes Due look at a channel in time, after a message was put there.
func (b *Batch) schedule(s *state, ch relay.Channel) {
	p, at := s.policy, uint64(0)
	switch {
	case burst(s, p):
		at = b.shard.time
	case p.Keyed:
		at = b.shard.time + late(grace(p))
	case p.Age > 0:
		at = b.shard.time + late(ms(p.Age))
	}
	if at != 0 && (s.due == 0 || at < s.due) {
		b.setDue(s, ch, at)
	}
}

// reschedule works out when Due is to look at a channel again.
func (b *Batch) reschedule(s *state, ch relay.Channel) {
	p, at := s.policy, uint64(0)
	switch {
	case p == nil || !s.exists:
	case s.count == 0 && s.tables > 0: // Expire reschedules
	case s.count == 0:
		at = max(s.used+ms(p.ForgetAfter), b.shard.time)
	case burst(s, p):
		at = b.shard.time
	case p.Keyed:
		if _, t, ok := messageFrom(b.v, ch, s.clean.Next()); ok {
			at = t + late(grace(p))
		}
	case p.Age > 0:
		if _, t, ok := messageFrom(b.v, ch, s.first); ok {
			at = t + late(ms(p.Age))
		}
	}
	b.setDue(s, ch, at)
}

func (b *Batch) setDue(s *state, ch relay.Channel, at uint64) {
	if s.due == at {
		return
	}
	if s.due != 0 {
		b.v.Delete(appendDueKey(b.key[:0], s.due, ch))
	}
	if at != 0 {
		b.v.Set(appendDueKey(b.key[:0], at, ch), []byte{recordVersion})
	}
	s.due, s.dirty = at, true
}
