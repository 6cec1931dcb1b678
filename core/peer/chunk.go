package peer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/meridian-relay/meridian/core/shard"
)

// An ask is which state, and from where.
type ask struct {
	shard    shard.ID
	to       shard.Number // for whom
	snapshot uint64
	at       shard.Place
	key      []byte
}

func (a *ask) append(b []byte) []byte {
	return appendFrame(b, typeAsk, func(b []byte) []byte {
		for _, v := range [...]uint64{uint64(a.shard), uint64(a.to), a.snapshot, a.at.Index, a.at.Term} {
			b = binary.AppendUvarint(b, v)
		}
		return appendString(b, a.key)
	})
}

func (a *ask) decode(b []byte) error {
	p := body{b: b}
	a.shard, a.to = shard.ID(p.number()), shard.Number(p.number())
	a.snapshot = p.number()
	a.at = shard.Place{Index: p.number(), Term: p.number()}
	a.key = append([]byte(nil), p.string()...)
	return p.end("Ask")
}

// handout is under what the leader waits for the end.
func (a *ask) handout() handoutKey { return handoutKey{a.shard, a.to} }

// An offer is what stands in a state between two keys, by its sum.
type offer struct {
	from, to []byte
	sum      uint64
	bytes    uint64
}

func (o *offer) append(b []byte) []byte {
	return appendFrame(b, typeOffer, func(b []byte) []byte {
		b = appendString(appendString(b, o.from), o.to)
		b = binary.LittleEndian.AppendUint64(b, o.sum)
		return binary.AppendUvarint(b, o.bytes)
	})
}

// decode reads an Offer's body, and keeps nothing of it.
func (o *offer) decode(b []byte) error {
	p := body{b: b}
	o.from, o.to = append([]byte{}, p.string()...), append([]byte{}, p.string()...)
	o.sum, o.bytes = p.fixed(), p.number()
	return p.end("Offer")
}

func (p *body) fixed() uint64 {
	b := p.bytes(8)
	if len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// maxPairs bounds the pairs of a chunk, so that empty ones do not take many times their bytes.
const maxPairs = 256 << 10

// appendData appends a Data frame.
func appendData(b []byte, c *shard.Chunk) ([]byte, error) {
	start := len(b)
	b = appendFrame(b, typeData, func(b []byte) []byte {
		b = appendString(appendString(b, c.From), c.To)
		b = binary.LittleEndian.AppendUint64(b, c.Sum)
		b = binary.AppendUvarint(b, uint64(len(c.Keys)))
		for i := range c.Keys {
			b = appendString(appendString(b, c.Keys[i]), c.Values[i])
		}
		return b
	})
	if n := len(b) - start; n > typeData.bound() || len(c.Keys) > maxPairs {
		return b[:start], fmt.Errorf("%w: a chunk of %d bytes in %d pairs, at most %d in %d", ErrTooLarge, n, len(c.Keys), typeData.bound(), maxPairs)
	}
	return b, nil
}

// decodeData reads a Data frame's body, which c then points to.
func decodeData(b []byte, c *shard.Chunk) error {
	p := body{b: b}
	c.From, c.To, c.Sum = p.string(), p.string(), p.fixed()
	n := p.number()
	if n > maxPairs || n > uint64(len(p.b)/2) {
		return fmt.Errorf("%w: %d pairs in a chunk", ErrMalformed, n)
	}
	c.Keys, c.Values = slices.Grow(c.Keys[:0], int(n)), slices.Grow(c.Values[:0], int(n))
	for range n {
		c.Keys = append(c.Keys, p.string())
		c.Values = append(c.Values, p.string())
	}
	return p.end("Data")
}
