package relay

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// An Epoch belongs to a channel, only grows, and changes only where continuity may be broken.
// Below 2^53; the first is 1.
type Epoch uint64

// A Seq numbers the messages of a channel within an epoch, without holes: 1, 2, 3…
// Below 2^53.
type Seq uint64

// MaxNumber is the largest epoch, seq and ref: what a JavaScript number holds exactly.
const MaxNumber = 1<<53 - 1

// A Position is a place in a channel: at the message with this seq, or, with seq 0, before the
// epoch's first. The zero Position is before everything.
type Position struct {
	Epoch Epoch
	Seq   Seq
}

// Compare orders positions by epoch, then seq.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Seq, q.Seq))
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool { return p.Compare(q) < 0 }

// IsZero reports whether p is before everything.
func (p Position) IsZero() bool { return p == Position{} }

// Next returns the position that follows p in its epoch.
func (p Position) Next() Position { return Position{p.Epoch, p.Seq + 1} }

// String returns "EPOCH:SEQ".
func (p Position) String() string {
	return strconv.FormatUint(uint64(p.Epoch), 10) + ":" + strconv.FormatUint(uint64(p.Seq), 10)
}

// ParsePosition parses "EPOCH:SEQ".
func ParsePosition(s string) (Position, error) {
	e, q, ok := strings.Cut(s, ":")
	if !ok {
		return Position{}, fmt.Errorf("position %q: write EPOCH:SEQ", clip(s))
	}
	epoch, err1 := strconv.ParseUint(e, 10, 53)
	seq, err2 := strconv.ParseUint(q, 10, 53)
	if err1 != nil || err2 != nil {
		return Position{}, fmt.Errorf("position %q: EPOCH and SEQ are whole numbers below 2^53", clip(s))
	}
	return Position{Epoch(epoch), Seq(seq)}, nil
}

// A Producer identifies a publishing client for exactly-once publishing: random, bound to the
// subject that uses it. The zero Producer is none.
type Producer [16]byte

// IsZero reports whether p is none.
func (p Producer) IsZero() bool { return p == Producer{} }

// ProducerOf returns the producer of one message that a publisher gave an id: derived from
// subject and id by SHA-256, so that repeating the id is repeating the message (its n is 1).
func ProducerOf(subject Subject, id string) Producer {
	h := sha256.New()
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(subject)))
	h.Write(size[:])
	h.Write([]byte(subject))
	h.Write([]byte(id))
	var p Producer
	copy(p[:], h.Sum(nil))
	return p
}
