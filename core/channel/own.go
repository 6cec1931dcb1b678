package channel

import (
	"fmt"

	"github.com/meridian-relay/meridian/relay"
)

// An ownership is which channels of a namespace this shard owns, but for its pinned ones.
type ownership struct {
	slots [relay.Slots / 8]byte // bit s%8 of byte s/8 is slot s
	pins  uint64                // how many channels have a record of their own
}

// loadOwnership reads a namespace's ownership; none: nothing is owned.
func loadOwnership(r Reader, key []byte, ns relay.Namespace, o *ownership) {
	*o = ownership{}
	v, ok := r.Get(appendName(key[:0], kindOwned, ns))
	if !ok {
		return
	}
	d := newDecoder(v)
	if d.bad = d.bad || copy(o.slots[:], d.b) < len(o.slots); !d.bad {
		if d.b = d.b[len(o.slots):]; len(d.b) > 0 {
			o.pins = d.uint()
		}
	}
	d.check("owned slots", ns)
}

func (o *ownership) append(b []byte) []byte {
	b = append(append(b, recordVersion), o.slots[:]...)
	if o.pins > 0 {
		b = putUint(b, o.pins)
	}
	return b
}

// Own says that this shard owns the slots from first to last of a namespace.
func (b *Batch) Own(ns relay.Namespace, first, last relay.Slot) {
	b.own(ns, first, last, true, "")
}

// Disown says that another shard owns the slots from first to last; empty: nobody knows which.
func (b *Batch) Disown(ns relay.Namespace, first, last relay.Slot, shard string) {
	b.own(ns, first, last, false, shard)
}

func (b *Batch) own(ns relay.Namespace, first, last relay.Slot, mine bool, shard string) {
	o := b.ownership(ns)
	for s := first; s <= last && s < relay.Slots; s++ {
		at, bit := s/8, byte(1)<<(s%8)
		if mine {
			o.slots[at] |= bit
		} else {
			o.slots[at] &^= bit
		}
		if !mine && shard != "" {
			b.v.Set(appendElseKey(b.key[:0], ns, s), append([]byte{recordVersion}, shard...))
		} else {
			b.v.Delete(appendElseKey(b.key[:0], ns, s))
		}
	}
	b.setOwnership(ns, o)
}

// ownership returns a namespace's ownership, which the batch holds.
func (b *Batch) ownership(ns relay.Namespace) *ownership {
	o, ok := b.owners[ns]
	if !ok {
		o = &ownership{}
		loadOwnership(b.v, b.key, ns, o)
		b.owners[ns] = o
	}
	return o
}

func (b *Batch) setOwnership(ns relay.Namespace, o *ownership) {
	b.v.Set(appendName(b.key[:0], kindOwned, ns), o.append(make([]byte, 0, 528)))
	for _, s := range b.channels {
		s.owned = false // ask again
	}
}

// Pin says that this shard owns a channel, whoever owns its slot.
func (b *Batch) Pin(ch relay.Channel) error { return b.pin(ch, []byte{recordVersion, 1}) }

// PinElse says that another shard owns a channel, whoever owns its slot; empty: nobody knows
// which.
func (b *Batch) PinElse(ch relay.Channel, shard string) error {
	return b.pin(ch, append([]byte{recordVersion, 0}, shard...))
}

// Unpin says that the owner of a channel's slot owns the channel.
func (b *Batch) Unpin(ch relay.Channel) error { return b.pin(ch, nil) }

func (b *Batch) pin(ch relay.Channel, value []byte) error {
	if _, err := relay.ParseChannel(string(ch)); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	o := b.ownership(ch.Namespace())
	key := appendName(b.key[:0], kindPin, ch)
	_, was := b.v.Get(key)
	switch {
	case value != nil:
		b.v.Set(key, value)
		if !was {
			o.pins++
		}
	case was:
		b.v.Delete(key)
		o.pins--
	}
	b.setOwnership(ch.Namespace(), o)
	return nil
}

func (b *Batch) owned(ch relay.Channel) relay.End {
	return b.ownership(ch.Namespace()).owned(b.v, b.key, ch)
}

// owned answers Moved for a channel that this shard does not own.
func owned(r Reader, key []byte, ch relay.Channel) relay.End {
	var o ownership
	loadOwnership(r, key, ch.Namespace(), &o)
	return o.owned(r, key, ch)
}

func (o *ownership) owned(r Reader, key []byte, ch relay.Channel) relay.End {
	if o.pins > 0 {
		if v, ok := r.Get(appendName(key[:0], kindPin, ch)); ok {
			return pinned(v, ch)
		}
	}
	slot := ch.Slot()
	if o.slots[slot/8]&(1<<(slot%8)) != 0 {
		return relay.End{}
	}
	end := relay.End{
		Code:   relay.Moved,
		Detail: fmt.Sprintf("slot %d of namespace %q is not owned by this shard", slot, ch.Namespace()),
	}
	if v, ok := r.Get(appendElseKey(key[:0], ch.Namespace(), slot)); ok {
		end.Hint.Shard = string(v[1:])
	}
	return end
}

// pinned answers for a channel with a record of its own.
func pinned(v []byte, ch relay.Channel) relay.End {
	d := newDecoder(v)
	d.bad = d.bad || len(d.b) == 0
	d.check("pin", ch)
	if d.b[0] == 1 {
		return relay.End{}
	}
	return relay.End{
		Code:   relay.Moved,
		Detail: fmt.Sprintf("channel %q is pinned to another shard", ch),
		Hint:   relay.Hint{Shard: string(d.b[1:])},
	}
}
