package channel

import "iter"

// A Reader is the readable side of a View. Keys and values are lent until the next write to the
// view, or for as long as the implementation says, and must not be changed.
//
// A view that can fail keeps its first error, answers as if empty from then on, and lets its
// owner ask for the error before the results of the machine are used.
type Reader interface {
	// Get returns the value at key.
	Get(key []byte) (value []byte, ok bool)
	// Ascend yields the entries with from <= key < to, in order of their keys. The view must
	// not be written meanwhile.
	Ascend(from, to []byte) iter.Seq2[[]byte, []byte]
	// Descend yields the same entries in the opposite order.
	Descend(from, to []byte) iter.Seq2[[]byte, []byte]
}

// A View is the ordered key-value state that the machine runs on: a map in memory, or a batch
// of a store. It is for one goroutine at a time.
type View interface {
	Reader
	// Set stores value at key. It copies key, and keeps value, which the caller gives up.
	Set(key, value []byte)
	// Delete removes key, if it is there.
	Delete(key []byte)
}
