package channel

import (
	"encoding/binary"

	"github.com/meridian-relay/meridian/relay"
)

// First bytes of keys. Append-only: a number is never used for something else.
const (
	kindShard    = 0x01
	kindPolicy   = 0x02 // namespace
	kindOwned    = 0x03 // namespace
	kindElse     = 0x04 // namespace, 0, slot
	kindSweep    = 0x05 // namespace
	kindHead     = 0x10 // channel
	kindMessage  = 0x11 // channel, 0, position
	kindNewest   = 0x12 // channel, 0, position
	kindKey      = 0x13 // channel, 0, key
	kindProducer = 0x14 // channel, 0, producer
	kindWindow   = 0x15 // channel, 0, producer, chunk
	kindSubject  = 0x20 // subject
	kindDue      = 0x21 // time, channel
	kindExpiry   = 0x22 // time, channel, 0, producer
)

const positionLen = 16

func appendPosition(b []byte, p relay.Position) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.Epoch))
	return binary.BigEndian.AppendUint64(b, uint64(p.Seq))
}

// keyPosition reads the position at the end of a key.
func keyPosition(key []byte) relay.Position {
	b := key[len(key)-positionLen:]
	return relay.Position{
		Epoch: relay.Epoch(binary.BigEndian.Uint64(b)),
		Seq:   relay.Seq(binary.BigEndian.Uint64(b[8:])),
	}
}

// appendName appends a key of one kind for a channel or a namespace.
func appendName[S ~string](b []byte, kind byte, name S) []byte {
	return append(append(b, kind), name...)
}

// appendPlace appends the key of kind for a position in a channel.
func appendPlace(b []byte, kind byte, ch relay.Channel, p relay.Position) []byte {
	b = append(appendName(b, kind, ch), 0)
	return appendPosition(b, p)
}

// appendPlacesEnd appends the key that follows all of kind in a channel.
func appendPlacesEnd(b []byte, kind byte, ch relay.Channel) []byte {
	return append(appendName(b, kind, ch), 1)
}

func appendKeyKey(b []byte, ch relay.Channel, key []byte) []byte {
	b = append(appendName(b, kindKey, ch), 0)
	return append(b, key...)
}

func appendProducerKey(b []byte, ch relay.Channel, p relay.Producer) []byte {
	b = append(appendName(b, kindProducer, ch), 0)
	return append(b, p[:]...)
}

func appendWindowKey(b []byte, ch relay.Channel, p relay.Producer, chunk uint64) []byte {
	b = append(appendName(b, kindWindow, ch), 0)
	b = append(b, p[:]...)
	return binary.BigEndian.AppendUint64(b, chunk)
}

func appendDueKey(b []byte, at uint64, ch relay.Channel) []byte {
	b = binary.BigEndian.AppendUint64(append(b, kindDue), at)
	return append(b, ch...)
}

func appendExpiryKey(b []byte, at uint64, ch relay.Channel, p relay.Producer) []byte {
	b = binary.BigEndian.AppendUint64(append(b, kindExpiry), at)
	b = append(append(b, ch...), 0)
	return append(b, p[:]...)
}

func appendElseKey(b []byte, ns relay.Namespace, slot relay.Slot) []byte {
	b = append(appendName(b, kindElse, ns), 0)
	return binary.BigEndian.AppendUint16(b, uint16(slot))
}
