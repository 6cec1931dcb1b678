package channel

import (
	"encoding/binary"
	"fmt"

	"github.com/meridian-relay/meridian/relay"
)

// Versions of the values. A value begins with its version.
const recordVersion = 1

// A decoder reads the varints of a record. After an error everything is zero.
type decoder struct {
	b   []byte
	bad bool
}

func newDecoder(b []byte) decoder {
	if len(b) == 0 || b[0] != recordVersion {
		return decoder{bad: true}
	}
	return decoder{b: b[1:]}
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) position() relay.Position {
	return relay.Position{Epoch: relay.Epoch(d.uint()), Seq: relay.Seq(d.uint())}
}

// A Damage is what the machine panics with when it finds a record that it did not write: a view
// is its own, so this is a fault of the store, and going on would damage more. Whoever runs it
// over a store recovers it and ends the process.
type Damage struct{ What, Key string }

func (d *Damage) Error() string { return fmt.Sprintf("channel: %s of %q is damaged", d.What, d.Key) }

// check panics if the record is damaged.
func (d *decoder) check(what string, key any) {
	if d.bad {
		panic(&Damage{what, fmt.Sprint(key)})
	}
}

func putPosition(b []byte, p relay.Position) []byte {
	b = binary.AppendUvarint(b, uint64(p.Epoch))
	return binary.AppendUvarint(b, uint64(p.Seq))
}

func putUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }
