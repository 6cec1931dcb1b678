package store

import (
	"slices"
	"strings"
	"unsafe"
)

// An overlay is changes that are not in a database yet: a map for what is looked up, and an order
// that is made only when a range is read, which few batches do.
type overlay struct {
	at    map[string]int // into ops
	ops   []op
	order []int // of ops[:len(order)], by key
	keys  arena
}

type op struct {
	key     string
	value   []byte
	deleted bool
}

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// get returns what was set at key; known is false if nothing was done to it.
func (o *overlay) get(key []byte) (value []byte, ok, known bool) {
	i, known := o.at[string(key)]
	if !known {
		return nil, false, false
	}
	return o.ops[i].value, !o.ops[i].deleted, true
}

func (o *overlay) put(key, value []byte, deleted bool) {
	if i, known := o.at[string(key)]; known {
		o.ops[i].value, o.ops[i].deleted = value, deleted
		return
	}
	if o.at == nil {
		o.at = make(map[string]int)
	}
	// Keys are never changed, so the map may have the arena's bytes as its strings.
	k := stringOf(o.keys.copy(key))
	o.at[k] = len(o.ops)
	o.ops = append(o.ops, op{key: k, value: value, deleted: deleted})
}

// Set implements channel.View.
func (o *overlay) Set(key, value []byte) { o.put(key, value, false) }

// Delete implements channel.View.
func (o *overlay) Delete(key []byte) { o.put(key, nil, true) }

// between returns the ops with from <= key < to, in order.
func (o *overlay) between(from, to []byte) []int {
	if n := len(o.order); n < len(o.ops) {
		for i := n; i < len(o.ops); i++ {
			o.order = append(o.order, i)
		}
		byKey := func(i, j int) int { return strings.Compare(o.ops[i].key, o.ops[j].key) }
		slices.SortFunc(o.order[n:], byKey)
		if n > 0 && byKey(o.order[n-1], o.order[n]) > 0 {
			slices.SortFunc(o.order, byKey)
		}
	}
	find := func(key []byte) int {
		i, _ := slices.BinarySearchFunc(o.order, key, func(i int, key []byte) int {
			return strings.Compare(o.ops[i].key, stringOf(key))
		})
		return i
	}
	lo := find(from)
	return o.order[lo:max(lo, find(to))]
}
