package channel

import (
	"fmt"

	"github.com/meridian-relay/meridian/relay"
)

// Own says that this shard owns the slots from first to last of a namespace.
func (b *Batch) Own(ns relay.Namespace, first, last relay.Slot) {
	b.own(ns, first, last, true, "")
}

// Disown says that another shard owns the slots from first to last; empty: nobody knows which.
func (b *Batch) Disown(ns relay.Namespace, first, last relay.Slot, shard string) {
	b.own(ns, first, last, false, shard)
}

func (b *Batch) own(ns relay.Namespace, first, last relay.Slot, mine bool, shard string) {
	key := appendName(nil, kindOwned, ns)
	bits := make([]byte, 1+relay.Slots/8)
	if old, ok := b.v.Get(key); ok {
		copy(bits, old)
	}
	bits[0] = recordVersion
	for s := first; s <= last && s < relay.Slots; s++ {
		at, bit := 1+s/8, byte(1)<<(s%8)
		if mine {
			bits[at] |= bit
		} else {
			bits[at] &^= bit
		}
		if !mine && shard != "" {
			b.v.Set(appendElseKey(b.key[:0], ns, s), append([]byte{recordVersion}, shard...))
		} else {
			b.v.Delete(appendElseKey(b.key[:0], ns, s))
		}
	}
	b.v.Set(key, bits)
	for _, s := range b.channels {
		s.owned = false // ask again
	}
}

// owned answers Moved for a channel that this shard does not own.
func owned(r Reader, key []byte, ch relay.Channel) relay.End {
	slot := ch.Slot()
	bits, ok := r.Get(appendName(key[:0], kindOwned, ch.Namespace()))
	if ok && bits[1+slot/8]&(1<<(slot%8)) != 0 {
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
