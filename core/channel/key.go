package channel

import (
	"bytes"
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
	kindPin      = 0x06 // channel
	kindHead     = 0x10 // channel
	kindMessage  = 0x11 // channel, 0, position
	kindNewest   = 0x12 // channel, 0, position
	kindKey      = 0x13 // channel, 0, key
	kindProducer = 0x14 // channel, 0, producer, subject
	kindWindow   = 0x15 // channel, 0, producer, chunk, subject
	kindSubject  = 0x20 // subject
	kindDue      = 0x21 // time, channel
	kindExpiry   = 0x22 // time, channel, 0, producer, subject
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

// A subject stands last, after numbers of fixed length: it may have any bytes, 0 among them.

func appendProducerKey(b []byte, id producerID) []byte {
	b = append(appendName(b, kindProducer, id.channel), 0)
	b = append(b, id.id[:]...)
	return append(b, id.subject...)
}

func appendWindowKey(b []byte, id producerID, chunk uint64) []byte {
	b = append(appendName(b, kindWindow, id.channel), 0)
	b = append(b, id.id[:]...)
	b = binary.BigEndian.AppendUint64(b, chunk)
	return append(b, id.subject...)
}

func appendDueKey(b []byte, at uint64, ch relay.Channel) []byte {
	b = binary.BigEndian.AppendUint64(append(b, kindDue), at)
	return append(b, ch...)
}

func appendExpiryKey(b []byte, at uint64, id producerID) []byte {
	b = binary.BigEndian.AppendUint64(append(b, kindExpiry), at)
	b = append(append(b, id.channel...), 0)
	b = append(b, id.id[:]...)
	return append(b, id.subject...)
}

// expiryKey reads what appendExpiryKey wrote. A channel has no 0.
func expiryKey(key []byte) (at uint64, id producerID) {
	at, key = binary.BigEndian.Uint64(key[1:]), key[9:]
	end := bytes.IndexByte(key, 0)
	id.channel, key = relay.Channel(key[:end]), key[end+1:]
	n := copy(id.id[:], key)
	id.subject = relay.Subject(key[n:])
	return at, id
}

func appendElseKey(b []byte, ns relay.Namespace, slot relay.Slot) []byte {
	b = append(appendName(b, kindElse, ns), 0)
	return binary.BigEndian.AppendUint16(b, uint16(slot))
}
