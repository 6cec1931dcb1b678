package token

import (
	"crypto/sha256"
	"sync"

	"github.com/meridian-relay/meridian/relay"
)

// A cache remembers which tokens were found valid, so that a storm of reconnecting sessions, and
// back-ends that publish with every request, cost a hash each instead of a signature.
type cache struct {
	// Set at construction.
	maxBytes int

	mu      sync.Mutex
	entries map[[sha256.Size]byte]cached
	bytes   int    // invariant: the sum of the entries' bytes, at most maxBytes
	cleared uint64 // how often
}

type cached struct {
	grant *relay.Grant
	bytes int
}

func newCache(maxBytes int) *cache {
	return &cache{maxBytes: maxBytes, entries: make(map[[sha256.Size]byte]cached)}
}

// get returns a grant, nil if there is none, and for put how often the cache was cleared.
func (c *cache) get(sum [sha256.Size]byte) (g *relay.Grant, cleared uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[sum].grant, c.cleared
}

// put remembers a grant from a token of so many bytes, unless the cache was cleared since get:
// the key may be gone by which it was verified. Others, at random, make room.
func (c *cache) put(sum [sha256.Size]byte, g *relay.Grant, bytes int, cleared uint64) {
	bytes += entryBytes + len(g.Capabilities)*capabilityBytes
	if bytes > c.maxBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cleared != cleared {
		return
	}
	c.bytes += bytes - c.entries[sum].bytes
	c.entries[sum] = cached{g, bytes}
	for victim, e := range c.entries {
		if c.bytes <= c.maxBytes {
			return
		}
		if victim != sum {
			delete(c.entries, victim)
			c.bytes -= e.bytes
		}
	}
}

// What an entry takes beside the token's text, in bytes.
const (
	entryBytes      = 200
	capabilityBytes = 32
)

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.bytes = 0
	c.cleared++
}
