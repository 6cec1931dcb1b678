package peer

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/shard"
)

const (
	flagRest = 1 << iota
	flagGone
	flagStore  // the store of To stands after Keep
	flagsKnown = flagRest | flagGone | flagStore
)

// maxEntries bounds the entries of one message, so that empty ones do not take a hundred times
// their bytes.
const maxEntries = 64 << 10

// appendMessage appends a Message frame.
func appendMessage(b []byte, m *shard.Message) ([]byte, error) {
	var err error
	start := len(b)
	b = appendFrame(b, typeMessage, func(b []byte) []byte {
		b = binary.AppendUvarint(b, uint64(m.Shard))
		b = binary.AppendUvarint(b, uint64(m.From))
		b = binary.AppendUvarint(b, uint64(m.To))
		b = binary.AppendUvarint(b, m.Incarnation)
		var flags uint64
		if m.Rest {
			flags |= flagRest
		}
		if m.Gone {
			flags |= flagGone
		}
		if m.Store != (shard.StoreID{}) {
			flags |= flagStore
		}
		b = binary.AppendUvarint(b, flags)
		b = binary.AppendUvarint(b, m.Keep)
		if flags&flagStore != 0 {
			b = append(b, m.Store[:]...)
		}
		if m.Raft != nil {
			b, err = proto.MarshalOptions{}.MarshalAppend(b, m.Raft)
		}
		return b
	})
	if err != nil {
		return b[:start], fmt.Errorf("encode a message of raft: %w", err)
	}
	if n := len(b) - start; n > maxMessage {
		return b[:start], fmt.Errorf("%w: a message of raft of %d bytes, at most %d", ErrTooLarge, n, maxMessage)
	}
	return b, nil
}

// decodeMessage reads a Message frame's body, and keeps nothing of it.
func decodeMessage(b []byte) (shard.Message, error) {
	p := body{b: b}
	m := shard.Message{
		Shard: shard.ID(p.number()), From: shard.Number(p.number()), To: shard.Number(p.number()),
		Incarnation: p.number(),
	}
	flags := p.number()
	m.Rest, m.Gone, m.Keep = flags&flagRest != 0, flags&flagGone != 0, p.number()
	if flags&flagStore != 0 {
		copy(m.Store[:], p.bytes(uint64(len(m.Store))))
	}
	if p.bad || flags&^flagsKnown != 0 || m.Shard == 0 || m.To == 0 {
		return m, fmt.Errorf("%w: head of a message", ErrMalformed)
	}
	if m.Gone && len(p.b) == 0 {
		return m, nil
	}
	if err := checkRaft(p.b); err != nil {
		return m, err
	}
	m.Raft = new(raftpb.Message)
	if err := proto.Unmarshal(p.b, m.Raft); err != nil {
		return m, fmt.Errorf("%w: message of raft: %v", ErrMalformed, err)
	}
	return m, nil
}

// Fields of raftpb.Message.
const (
	fieldEntries   = 7
	fieldResponses = 14 // never leaves a node
)

// checkRaft bounds what a message takes when it is decoded.
func checkRaft(b []byte) error {
	entries := 0
	for len(b) > 0 {
		field, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return fmt.Errorf("%w: message of raft: %v", ErrMalformed, protowire.ParseError(n))
		}
		if field == fieldEntries {
			entries++
		}
		if field == fieldResponses || entries > maxEntries {
			return fmt.Errorf("%w: message of raft with responses, or more than %d entries", ErrMalformed, maxEntries)
		}
		b = b[n:]
	}
	return nil
}

// sizeOf returns about how many bytes a message takes.
func sizeOf(m *shard.Message) int {
	n := 64
	if m.Raft == nil {
		return n
	}
	n += len(m.Raft.GetContext())
	for _, e := range m.Raft.GetEntries() {
		n += 24 + len(e.GetData())
	}
	return n + len(m.Raft.GetSnapshot().GetData())
}
