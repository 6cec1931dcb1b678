package channel

import (
	"bytes"
	"iter"
	"math/bits"

	"github.com/meridian-relay/meridian/relay"
)

// Floor returns what every epoch that begins from now on exceeds.
func Floor(r Reader) relay.Epoch {
	sh := loadShard(r)
	return sh.floor
}

// Time returns the shard's time, Unix ms: that of the latest batch. It stands still while a leader's
// clock is behind it.
func Time(r Reader) uint64 {
	sh := loadShard(r)
	return sh.time
}

// Defined reports whether a namespace is defined, and whether its policy is p.
func Defined(r Reader, ns relay.Namespace, p Policy) (defined, same bool) {
	v, ok := r.Get(appendName(nil, kindPolicy, ns))
	want := p.filled()
	return ok, ok && bytes.Equal(v, want.append(nil))
}

// Owned is how much a shard owns of a namespace.
type Owned struct{ Slots, Pins int }

// Owns yields the namespaces of which a shard owns something.
func Owns(r Reader) iter.Seq2[relay.Namespace, Owned] {
	return func(yield func(relay.Namespace, Owned) bool) {
		for k := range r.Ascend([]byte{kindOwned}, []byte{kindOwned + 1}) {
			ns := relay.Namespace(k[1:])
			var o ownership
			loadOwnership(r, nil, ns, &o)
			n := Owned{Pins: int(o.pins)}
			for _, b := range o.slots {
				n.Slots += bits.OnesCount8(b)
			}
			if !yield(ns, n) {
				return
			}
		}
	}
}
