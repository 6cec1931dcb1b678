package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
)

// ErrDamaged: an entry, or what stands in a state, is not what this version or an earlier one
// wrote. The replica cannot go on; its store has to be replaced.
var ErrDamaged = errors.New("shard: damaged")

// entryVersion is the first byte of an entry's data.
const entryVersion = 1

// entryHeader is how long an entry's version and proposal id are.
const entryHeader = 9

// A kind is a command's in an entry. Append-only: a number is never used for something else.
type kind byte

const (
	kindPublish kind = iota + 1
	kindStep
	kindExpire
	kindPolicy
	kindLimits
	kindSlots
	kindPin
	kindRaise
	kindVersion
	kindPrefer
)

// needs is the shard version that a kind of command needs. A Host proposes none that its
// shard's version does not have, since a replica that does not know it could not go on.
var needs = [...]uint64{
	kindPublish: 1,
	kindStep:    1,
	kindExpire:  1,
	kindPolicy:  1,
	kindLimits:  1,
	kindSlots:   1,
	kindPin:     1,
	kindRaise:   1,
	kindVersion: 1,
	kindPrefer:  1,
}

// appendEntry begins an entry: id names the proposal, now is the leader's clock. Commands follow.
func appendEntry(b []byte, id uint64, now time.Time) []byte {
	b = append(b, entryVersion)
	b = binary.BigEndian.AppendUint64(b, id)
	return binary.AppendUvarint(b, uint64(max(now.UnixMilli(), 0)))
}

// Flags of a publish.
const (
	flagProducer = 1 << iota // producer, number and age follow
	flagVoid
)

// publishOverhead is more than what appendPublish adds to channel, subject and body.
const publishOverhead = 64

// publishSize is about how long a publish is in an entry, and not less.
func publishSize(p *relay.Publication) int {
	return publishOverhead + len(p.Channel) + len(p.Subject) + len(p.Body)
}

// appendPublish appends a publish. It copies p.Body.
func appendPublish(b []byte, p *relay.Publication) []byte {
	size := uvarintLen(uint64(len(p.Channel))) + len(p.Channel) +
		uvarintLen(uint64(len(p.Subject))) + len(p.Subject) + 1 + len(p.Body)
	flags, age := byte(0), uint64(0)
	if p.Void {
		flags |= flagVoid
	}
	if p.N != 0 || !p.Producer.IsZero() {
		flags |= flagProducer
		age = uint64(max(p.Age+time.Millisecond-1, 0) / time.Millisecond) // never younger
		size += len(p.Producer) + uvarintLen(p.N) + uvarintLen(age)
	}
	b = append(b, byte(kindPublish))
	b = binary.AppendUvarint(b, uint64(size))
	b = putString(b, p.Channel)
	b = putString(b, p.Subject)
	b = append(b, flags)
	if flags&flagProducer != 0 {
		b = append(b, p.Producer[:]...)
		b = binary.AppendUvarint(b, p.N)
		b = binary.AppendUvarint(b, age)
	}
	return append(b, p.Body...)
}

func (d *decoder) publish(p *relay.Publication) {
	p.Channel = relay.Channel(d.str())
	p.Subject = relay.Subject(d.str())
	flags := d.byte()
	p.Void = flags&flagVoid != 0
	p.Producer, p.N, p.Age = relay.Producer{}, 0, 0
	if flags&flagProducer != 0 {
		copy(p.Producer[:], d.take(len(p.Producer)))
		p.N = d.uint()
		p.Age = time.Duration(min(d.uint(), maxAgeMS)) * time.Millisecond
	}
	if flags > flagProducer|flagVoid {
		d.bad = true
	}
	p.Body = d.b
	if len(p.Body) == 0 {
		p.Body = nil
	}
	d.b = nil
}

// maxAgeMS is beyond every age that matters, and fits into a Duration.
const maxAgeMS = 1 << 40

// appendCommand appends a command other than a publish. A Command without exactly one field set
// is refused.
func appendCommand(b []byte, c *Command) ([]byte, error) {
	k, err := c.kinds()
	if err != nil {
		return b, err
	}
	for i := range c.Steps {
		b = appendBody(b, kindStep, func(b []byte) []byte { return appendStep(b, &c.Steps[i]) })
	}
	if k == kindStep {
		return b, nil
	}
	return appendBody(b, k, c.append), nil
}

// appendBody appends a command whose body append appends.
func appendBody(b []byte, k kind, body func([]byte) []byte) []byte {
	inner := body(make([]byte, 0, 128))
	b = append(b, byte(k))
	b = binary.AppendUvarint(b, uint64(len(inner)))
	return append(b, inner...)
}

// commandVersion is the shard version that a command needs.
func commandVersion(c *Command) (uint64, error) {
	k, err := c.kinds()
	if err != nil {
		return 0, err
	}
	return needs[k], nil
}

// A decoder reads an entry. Strings and bodies are parts of its data. After an error everything
// is zero.
type decoder struct {
	b   []byte
	bad bool
}

// openEntry reads what an entry begins with. d then yields its commands.
func openEntry(data []byte) (id uint64, now uint64, d decoder, err error) {
	if len(data) < entryHeader || data[0] != entryVersion {
		return 0, 0, d, fmt.Errorf("%w: entry begins with %x, want version %d",
			ErrDamaged, data[:min(len(data), entryHeader)], entryVersion)
	}
	d.b = data[entryHeader:]
	now = d.uint()
	if d.bad || now > maxTime {
		return 0, 0, d, fmt.Errorf("%w: entry has no time", ErrDamaged)
	}
	return binary.BigEndian.Uint64(data[1:]), now, d, nil
}

// maxTime is the largest time that an entry may have, in ms: some 100,000 years.
const maxTime = 1 << 52

// next yields the next command's kind and body; false: there is no more, or an error.
func (d *decoder) next() (k kind, body decoder, ok bool) {
	if len(d.b) == 0 || d.bad {
		return 0, body, false
	}
	k = kind(d.byte())
	size := d.uint()
	if size > uint64(len(d.b)) {
		d.bad = true
	}
	if d.bad {
		return 0, body, false
	}
	body.b = d.take(int(size))
	return k, body, true
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	b := d.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// take returns the next n bytes, or nil.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// str returns the next string, which is a part of the data: whoever keeps it clones it.
func (d *decoder) str() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	b := d.take(int(n))
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (d *decoder) position() relay.Position {
	return relay.Position{Epoch: relay.Epoch(d.uint()), Seq: relay.Seq(d.uint())}
}

// done reports whether all was read, without an error.
func (d *decoder) done() bool { return !d.bad && len(d.b) == 0 }

func putString[S ~string](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func putPosition(b []byte, p relay.Position) []byte {
	b = binary.AppendUvarint(b, uint64(p.Epoch))
	return binary.AppendUvarint(b, uint64(p.Seq))
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendStep(b []byte, s *channel.Step) []byte {
	b = append(b, byte(s.Op))
	if s.Op == channel.Sweep {
		return putString(b, s.Namespace)
	}
	b = putString(b, s.Channel)
	if s.Op == channel.Trim || s.Op == channel.Compact {
		b = putPosition(b, s.Through)
	}
	return b
}

func (d *decoder) step() (s channel.Step) {
	s.Op = channel.Op(d.byte())
	switch s.Op {
	case channel.Sweep:
		s.Namespace = relay.Namespace(d.str())
		return s
	case channel.Trim, channel.Compact:
		s.Channel = relay.Channel(d.str())
		s.Through = d.position()
	case channel.Look, channel.Forget:
		s.Channel = relay.Channel(d.str())
	default:
		d.bad = true
	}
	return s
}
