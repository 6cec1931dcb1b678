package hub

import (
	"encoding/binary"
	"sort"

	"github.com/meridian-relay/meridian/relay"
)

const (
	minChunk      = 512      // bytes of a quiet ring's first chunk
	maxChunk      = 64 << 10 // bytes of a busy ring's chunks; a larger message has its own
	chunkOverhead = 128      // bytes of a chunk's own bookkeeping, rounded up
	entrySize     = 32       // bytes of an entry
)

// An entry is a message, or a gap.
type entry struct {
	at     relay.Position // where the channel stands after it: the message's, or before the gap's next
	off, n uint32         // its bytes in the chunk: the body, or the gap's two positions
	gap    relay.GapReason
	flags  uint8
}

const (
	superseded uint8 = 1 << iota // a newer message of the same key is in the ring
	back                         // a gap whose next is not beyond what came before it
)

// A chunk holds consecutive entries. Its buf only grows within its capacity, so that slices of
// it stay valid for ever; it is never used again, so that a lender's mistake harms nobody.
type chunk struct {
	first   uint64 // id of entries[0]
	entries []entry
	buf     []byte
	size    int64 // bytes that it counts for
	pins    int32 // subscriptions that hold a part of it lent
	gone    bool  // dropped from its ring
}

// A ring is a channel's recent entries, guarded by its topic's mutex. Entries have ids, counted
// from 0, that never come again.
//
// Invariants: chunks hold the ids tail to next-1 without holes; positions of the entries from
// id posFrom on only grow, and base is the position before the first of them.
type ring struct {
	// Set at construction.
	budget *budget
	most   int64 // bytes
	whole  bool  // shrinks only when told to

	chunks  []*chunk
	tail    uint64
	next    uint64
	posFrom uint64
	base    relay.Position
	head    relay.Position
	bytes   int64
	keys    map[string]*uint64 // id of each key's newest message; nil: nobody reads latest
	keyed   int64              // bytes of keys; bytes and the budget have them too
}

// reset begins the ring anew at p.
func (r *ring) reset(p relay.Position) {
	for len(r.chunks) > 0 {
		r.drop()
	}
	r.base, r.head, r.posFrom = p, p, r.next
}

// covers reports whether a cursor at p can go on here.
func (r *ring) covers(p relay.Position) bool { return !p.Before(r.base) && !r.head.Before(p) }

// find returns the chunk that holds id, which is in the ring.
func (r *ring) find(id uint64) *chunk {
	last := r.chunks[len(r.chunks)-1]
	if id >= last.first {
		return last
	}
	i := sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > id })
	return r.chunks[i-1]
}

// seek returns the id of the first entry beyond p, which is not before base.
func (r *ring) seek(p relay.Position) uint64 {
	n := sort.Search(int(r.next-r.posFrom), func(i int) bool {
		id := r.posFrom + uint64(i)
		c := r.find(id)
		return p.Before(c.entries[id-c.first].at)
	})
	return r.posFrom + uint64(n)
}

// before returns the position before the entry id, which is not before posFrom.
func (r *ring) before(id uint64) relay.Position {
	if id == r.posFrom {
		return r.base
	}
	c := r.find(id - 1)
	return c.entries[id-1-c.first].at
}

// message appends a copy of a message.
func (r *ring) message(at relay.Position, body []byte) {
	c := r.room(len(body))
	off := len(c.buf)
	c.buf = append(c.buf, body...)
	r.add(c, entry{at: at, off: uint32(off), n: uint32(len(body))})
	if r.keys != nil {
		r.supersede(r.next-1, c.buf[off:])
	}
}

const gapSize = 32

// gap appends a gap. Where its next is not beyond the head, positions begin anew behind it.
func (r *ring) gap(after, next relay.Position, reason relay.GapReason) {
	at := prior(next)
	e := entry{at: at, n: gapSize, gap: reason}
	if at.Before(r.head) {
		e.flags = back
		for len(r.chunks) > 0 {
			r.drop() // those behind ask the upstream, which tells each where it stands
		}
	}
	c := r.room(gapSize)
	e.off = uint32(len(c.buf))
	for _, v := range [...]uint64{uint64(after.Epoch), uint64(after.Seq), uint64(next.Epoch), uint64(next.Seq)} {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, v)
	}
	r.add(c, e)
	if e.flags&back != 0 {
		r.posFrom, r.base = r.next, at
	}
}

// gapOf returns the positions of the gap e.
func (c *chunk) gapOf(e *entry) (after, next relay.Position) {
	b := c.buf[e.off : e.off+gapSize]
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return relay.Position{Epoch: relay.Epoch(u(0)), Seq: relay.Seq(u(1))},
		relay.Position{Epoch: relay.Epoch(u(2)), Seq: relay.Seq(u(3))}
}

func (r *ring) add(c *chunk, e entry) {
	was := cap(c.entries)
	c.entries = append(c.entries, e)
	if more := int64(cap(c.entries)-was) * entrySize; more > 0 {
		c.size += more
		r.bytes += more
		r.budget.used.Add(more)
	}
	r.next++
	r.head = e.at
}

// room returns a chunk with room for n bytes.
func (r *ring) room(n int) *chunk {
	var c *chunk
	size := minChunk
	if len(r.chunks) > 0 {
		c = r.chunks[len(r.chunks)-1]
		if cap(c.buf)-len(c.buf) >= n {
			return c
		}
		size = 2 * cap(c.buf)
	}
	size = max(min(size, maxChunk, int(r.most/8)), minChunk, n)
	c = &chunk{first: r.next, buf: make([]byte, 0, size), size: int64(size) + chunkOverhead}
	r.bytes += c.size
	r.budget.used.Add(c.size)
	r.chunks = append(r.chunks, c)
	if !r.whole {
		r.shrink(r.most)
	}
	return c
}

// shrink drops old chunks beyond most bytes, but never the newest.
func (r *ring) shrink(most int64) {
	for r.bytes > most && len(r.chunks) > 1 {
		r.drop()
	}
}

// drop takes the oldest chunk out of the ring.
func (r *ring) drop() {
	c := r.chunks[0]
	if r.keys != nil {
		r.forget(c)
	}
	copy(r.chunks, r.chunks[1:])
	r.chunks[len(r.chunks)-1] = nil
	r.chunks = r.chunks[:len(r.chunks)-1]
	if len(r.chunks) == 0 {
		r.chunks = nil
	}
	r.tail = c.first + uint64(len(c.entries))
	if r.tail > r.posFrom {
		r.posFrom, r.base = r.tail, c.entries[len(c.entries)-1].at
	}
	r.bytes -= c.size
	c.gone = true
	if c.pins > 0 {
		r.budget.held.Add(c.size)
	} else {
		r.budget.used.Add(-c.size)
	}
}

// unpin gives back what a subscription held of c.
func (b *budget) unpin(c *chunk) {
	if c.pins--; c.pins == 0 && c.gone {
		b.held.Add(-c.size)
		b.used.Add(-c.size)
	}
}

// prior returns the position before the message at p.
func prior(p relay.Position) relay.Position {
	if p.Seq > 0 {
		p.Seq--
	}
	return p
}
