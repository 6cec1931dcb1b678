package shard

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// A Summer works out the sum of a Chunk, entry by entry. The zero Summer is none: call Reset.
type Summer struct{ d xxhash.Digest }

// Reset begins a chunk.
func (s *Summer) Reset() { s.d.Reset() }

// Add adds an entry: the lengths of key and value, 4 bytes each, big-endian, and both.
func (s *Summer) Add(key, value []byte) {
	var n [8]byte
	binary.BigEndian.PutUint32(n[:4], uint32(len(key)))
	binary.BigEndian.PutUint32(n[4:], uint32(len(value)))
	s.d.Write(n[:])
	s.d.Write(key)
	s.d.Write(value)
}

// Sum returns the sum of what was added.
func (s *Summer) Sum() uint64 { return s.d.Sum64() }

// Hash is what c.Sum has to be.
func (c *Chunk) Hash() uint64 {
	var s Summer
	s.Reset()
	for i := range c.Keys {
		s.Add(c.Keys[i], c.Values[i])
	}
	return s.Sum()
}
