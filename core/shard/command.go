package shard

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
)

// A Command is a change other than a publish, for Host.Propose. Exactly one field is set.
type Command struct {
	Steps  []channel.Step  // retention, from channel.Due
	Expire int             // forget so many producers that are due
	Policy *PolicyChange   // define a namespace, or change its policy
	Limits *channel.Limits // of producers' tables
	Slots  *SlotChange     // own slots, or name who does
	Pin    *PinChange      // own one channel beyond its slot, or name who does
	Raise  *RaiseChange    // raise the floor of epochs
	Prefer *PreferChange   // say who is to lead
	// Version raises the shard's version; only to what all members support.
	Version uint64
}

// A PolicyChange is a namespace's policy.
type PolicyChange struct {
	Namespace relay.Namespace
	Policy    channel.Policy
}

// A SlotChange says who owns slots First to Last of a namespace: this shard, or Else (0: nobody
// that it knows of).
type SlotChange struct {
	Namespace   relay.Namespace
	First, Last relay.Slot
	Own         bool
	Else        ID
}

// A PinChange says who owns a channel, whoever owns its slot.
type PinChange struct {
	Channel relay.Channel
	Own     bool
	Else    ID // 0 and not Own: the slot's owner again
}

// A RaiseChange raises the floor of epochs.
type RaiseChange struct {
	Floor  relay.Epoch
	Broken bool // all channels begin a new epoch
}

// A PreferChange says which member is to lead; 0: whoever leads by the configuration.
type PreferChange struct{ Member Number }

// maxExpire bounds one Expire.
const maxExpire = 1 << 16

var errCommand = errors.New("shard: a Command has exactly one field set")

// kinds returns the kind of a command.
func (c *Command) kinds() (k kind, err error) {
	for _, f := range [...]struct {
		set  bool
		kind kind
	}{
		{len(c.Steps) > 0, kindStep}, {c.Expire > 0, kindExpire}, {c.Policy != nil, kindPolicy},
		{c.Limits != nil, kindLimits}, {c.Slots != nil, kindSlots}, {c.Pin != nil, kindPin},
		{c.Raise != nil, kindRaise}, {c.Version > 0, kindVersion},
		{c.Prefer != nil, kindPrefer},
	} {
		if f.set && k != 0 {
			return 0, errCommand
		}
		if f.set {
			k = f.kind
		}
	}
	if k == 0 {
		return 0, errCommand
	}
	return k, nil
}

// append appends the body of a command other than steps.
func (c *Command) append(b []byte) []byte {
	switch {
	case c.Expire > 0:
		return binary.AppendUvarint(b, uint64(min(c.Expire, maxExpire)))
	case c.Policy != nil:
		p := &c.Policy.Policy
		b = putString(b, c.Policy.Namespace)
		b = binary.AppendVarint(b, int64(p.Age))
		b = binary.AppendUvarint(b, p.Count)
		b = binary.AppendUvarint(b, p.Bytes)
		b = append(b, bit(p.Keyed))
		b = binary.AppendVarint(b, int64(p.Payload))
		return binary.AppendVarint(b, int64(p.ForgetAfter))
	case c.Limits != nil:
		for _, v := range []uint64{c.Limits.Subject, c.Limits.Channel, c.Limits.Shard} {
			b = binary.AppendUvarint(b, v)
		}
		return b
	case c.Slots != nil:
		b = putString(b, c.Slots.Namespace)
		b = binary.AppendUvarint(b, uint64(c.Slots.First))
		b = binary.AppendUvarint(b, uint64(c.Slots.Last))
		b = append(b, bit(c.Slots.Own))
		return binary.AppendUvarint(b, uint64(c.Slots.Else))
	case c.Pin != nil:
		b = putString(b, c.Pin.Channel)
		b = append(b, bit(c.Pin.Own))
		return binary.AppendUvarint(b, uint64(c.Pin.Else))
	case c.Raise != nil:
		b = binary.AppendUvarint(b, uint64(c.Raise.Floor))
		return append(b, bit(c.Raise.Broken))
	case c.Prefer != nil:
		return binary.AppendUvarint(b, uint64(c.Prefer.Member))
	}
	return binary.AppendUvarint(b, c.Version)
}

// command reads the body of a command. Strings are parts of the data.
func (d *decoder) command(k kind) (c Command) {
	switch k {
	case kindStep:
		c.Steps = []channel.Step{d.step()}
	case kindExpire:
		c.Expire = int(min(d.uint(), maxExpire))
	case kindPolicy:
		p := &PolicyChange{Namespace: relay.Namespace(d.str())}
		p.Policy = channel.Policy{
			Age: time.Duration(d.int()), Count: d.uint(), Bytes: d.uint(), Keyed: d.flag(),
			Payload: int(d.int()), ForgetAfter: time.Duration(d.int()),
		}
		c.Policy = p
	case kindLimits:
		c.Limits = &channel.Limits{Subject: d.uint(), Channel: d.uint(), Shard: d.uint()}
	case kindSlots:
		c.Slots = &SlotChange{Namespace: relay.Namespace(d.str()),
			First: d.slot(), Last: d.slot(), Own: d.flag(), Else: ID(d.uint())}
	case kindPin:
		c.Pin = &PinChange{Channel: relay.Channel(d.str()), Own: d.flag(), Else: ID(d.uint())}
	case kindRaise:
		c.Raise = &RaiseChange{Floor: relay.Epoch(d.uint()), Broken: d.flag()}
	case kindVersion:
		c.Version = d.uint()
	case kindPrefer:
		c.Prefer = &PreferChange{Member: Number(d.uint())}
	default:
		d.bad = true
	}
	return c
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) flag() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) slot() relay.Slot {
	v := d.uint()
	if v >= relay.Slots {
		d.bad = true
		return 0
	}
	return relay.Slot(v)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
