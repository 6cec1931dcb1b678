package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/meridian-relay/meridian/core/channel"
)

// The shard's own keys. The layout stands in the package comment.
var (
	keyDescriptor = []byte{0, 1}
	keyApplied    = []byte{0, 2}
)

// ReadDescriptor reads the shard's own record of what it is. A damaged one is none; Machine.Run
// tells.
func ReadDescriptor(r channel.Reader) (Descriptor, bool) {
	d, err := loadDescriptor(r)
	return d, err == nil
}

// ReadApplied reads where a state stands; false: it is not one.
func ReadApplied(r channel.Reader) (Place, bool) {
	p, err := loadApplied(r)
	return p, err == nil
}

func loadDescriptor(r channel.Reader) (Descriptor, error) {
	v, ok := r.Get(keyDescriptor)
	if !ok {
		return Descriptor{}, fmt.Errorf("%w: a state without a descriptor", ErrDamaged)
	}
	return decodeDescriptor(v)
}

// A Place's value: version, index (8 bytes), term (8 bytes).
const placeLen = 17

func loadApplied(r channel.Reader) (Place, error) {
	v, ok := r.Get(keyApplied)
	if !ok || len(v) != placeLen || v[0] != entryVersion {
		return Place{}, fmt.Errorf("%w: the place of a state is %x", ErrDamaged, v[:min(len(v), 32)])
	}
	return Place{Index: binary.BigEndian.Uint64(v[1:]), Term: binary.BigEndian.Uint64(v[9:])}, nil
}

func writeDescriptor(v channel.View, d *Descriptor) { v.Set(keyDescriptor, d.append(nil)) }

// WriteApplied notes where a state stands. Machine.Run does; it is for those who test stores.
func WriteApplied(v channel.View, p Place) {
	b := append(make([]byte, 0, placeLen), entryVersion)
	b = binary.BigEndian.AppendUint64(b, p.Index)
	v.Set(keyApplied, binary.BigEndian.AppendUint64(b, p.Term))
}
