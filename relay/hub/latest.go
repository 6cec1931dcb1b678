package hub

import "github.com/meridian-relay/meridian/relay/wire"

// index begins to keep, for subscriptions in mode latest, which messages a newer one of the same
// key supersedes. A message without a key has the empty one. Invariant: keys holds at most one
// id per message in the ring.
func (r *ring) index() {
	if r.keys != nil {
		return
	}
	r.keys = make(map[string]*uint64)
	for _, c := range r.chunks {
		for i := range c.entries {
			if e := &c.entries[i]; e.gap == 0 {
				r.supersede(c.first+uint64(i), c.buf[e.off:e.off+e.n])
			}
		}
	}
}

// unindex ends it: nobody reads latest any more.
func (r *ring) unindex() {
	r.countKey(-int(r.keyed))
	r.keys = nil
}

// keyCost is what a key counts besides its bytes: its id, and its place in a map half full.
const keyCost = 96

// countKey adds to what the index takes; the ring's next chunk makes room for it.
func (r *ring) countKey(n int) {
	r.keyed += int64(n)
	r.bytes += int64(n)
	r.budget.used.Add(int64(n))
}

// supersede notes the message id as its key's newest.
func (r *ring) supersede(id uint64, body []byte) {
	key := wire.Key(body)
	newest, ok := r.keys[string(key)]
	if !ok {
		r.keys[string(key)] = &id
		r.countKey(keyCost + len(key))
		return
	}
	c := r.find(*newest)
	c.entries[*newest-c.first].flags |= superseded
	*newest = id
}

// forget takes a chunk that is dropped out of the index.
func (r *ring) forget(c *chunk) {
	for i := range c.entries {
		e := &c.entries[i]
		if e.gap != 0 || e.flags&superseded != 0 {
			continue
		}
		key := wire.Key(c.buf[e.off : e.off+e.n])
		if newest, ok := r.keys[string(key)]; ok && *newest == c.first+uint64(i) {
			delete(r.keys, string(key))
			r.countKey(-keyCost - len(key))
		}
	}
}
