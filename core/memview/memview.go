// Package memview is the channel machine's view in memory.
package memview

import (
	"iter"
	"unsafe"

	"github.com/tidwall/btree"

	"github.com/meridian-relay/meridian/core/channel"
)

// A View is an ordered map in memory. Values are never changed, so what it lends stays intact
// for as long as it is referenced. The tree is tidwall/btree's: ordered, without locks of its
// own, and with hints that make appending to the end of a channel cheap; a map and a sorted
// index of our own would have to learn all that again.
//
// Many may read at a time; a writer must be alone.
type View struct {
	tree btree.Map[string, []byte]
	size int64
}

var _ channel.View = (*View)(nil)

// overhead is what an entry takes beyond its bytes: the string and slice headers in a node that
// is half full, and the allocator's rounding.
const overhead = 112

// New returns an empty View.
func New() *View { return &View{} }

// Size returns about how much memory the view takes, in bytes.
func (v *View) Size() int64 { return v.size }

// Len returns the number of entries.
func (v *View) Len() int { return v.tree.Len() }

// lookup makes a string of b without copying. The tree does not keep it.
func lookup(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// lend makes a slice of a key without copying; a caller must not change it.
func lend(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

// Get implements channel.Reader.
func (v *View) Get(key []byte) ([]byte, bool) { return v.tree.Get(lookup(key)) }

// Set implements channel.View.
func (v *View) Set(key, value []byte) {
	v.size += int64(len(key) + len(value) + overhead)
	if old, replaced := v.tree.Set(string(key), value); replaced {
		v.size -= int64(len(key) + len(old) + overhead)
	}
}

// Delete implements channel.View.
func (v *View) Delete(key []byte) {
	if old, ok := v.tree.Delete(lookup(key)); ok {
		v.size -= int64(len(key) + len(old) + overhead)
	}
}

// Ascend implements channel.Reader.
func (v *View) Ascend(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		v.tree.Ascend(lookup(from), func(key string, value []byte) bool {
			return key < lookup(to) && yield(lend(key), value)
		})
	}
}

// Descend implements channel.Reader.
func (v *View) Descend(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		v.tree.Descend(lookup(to), func(key string, value []byte) bool {
			if key == lookup(to) {
				return true
			}
			return key >= lookup(from) && yield(lend(key), value)
		})
	}
}

// Copy returns a view with the same entries, at the cost of a few nodes: each of the two copies
// what it changes. Those who read v may go on meanwhile.
func (v *View) Copy() *View {
	return &View{tree: *v.tree.Copy(), size: v.size}
}
