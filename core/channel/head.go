package channel

import "github.com/meridian-relay/meridian/relay"

// maxClosed is how many closed epochs a channel remembers. Those without retained messages are
// dropped before.
const maxClosed = 64

// A closed epoch, and its last message.
type closedEpoch struct {
	epoch relay.Epoch
	last  relay.Seq
}

// A head is a channel's record.
type head struct {
	at      relay.Position // the last message, or {epoch, 0}
	first   relay.Position // the oldest message retained; at.Next() if there is none
	cut     relay.Position // Trim removed everything up to here
	clean   relay.Position // Compact was here. Invariant: nothing replaced is retained up to here
	unkeyed relay.Position // the newest message without a key; zero: none
	count   uint64         // messages retained
	bytes   uint64         // their bodies
	used    uint64         // time of the last publish, Unix ms
	due     uint64         // when Due is to look again, Unix ms; 0: never
	tables  uint64         // bytes of producers
	closed  []closedEpoch  // oldest first
}

func (h *head) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = putPosition(b, h.at)
	b = putPosition(b, h.first)
	b = putPosition(b, h.cut)
	b = putPosition(b, h.clean)
	b = putPosition(b, h.unkeyed)
	for _, v := range []uint64{h.count, h.bytes, h.used, h.due, h.tables, uint64(len(h.closed))} {
		b = putUint(b, v)
	}
	for _, c := range h.closed {
		b = putUint(putUint(b, uint64(c.epoch)), uint64(c.last))
	}
	return b
}

func (h *head) decode(ch relay.Channel, b []byte) {
	d := newDecoder(b)
	h.at, h.first, h.cut, h.clean, h.unkeyed =
		d.position(), d.position(), d.position(), d.position(), d.position()
	h.count, h.bytes, h.used, h.due, h.tables = d.uint(), d.uint(), d.uint(), d.uint(), d.uint()
	h.closed = h.closed[:0]
	for range min(d.uint(), maxClosed) {
		h.closed = append(h.closed, closedEpoch{relay.Epoch(d.uint()), relay.Seq(d.uint())})
	}
	d.check("head", ch)
}

// loadHead reads a channel's record; false: the channel does not exist.
func loadHead(r Reader, key []byte, ch relay.Channel, h *head) bool {
	b, ok := r.Get(appendName(key[:0], kindHead, ch))
	if !ok {
		*h = head{closed: h.closed[:0]}
		return false
	}
	h.decode(ch, b)
	return true
}

// A shard is the record of what is not one channel's.
type shard struct {
	time   uint64      // the newest that was given, Unix ms; never decreases
	floor  relay.Epoch // a new epoch is greater
	broken relay.Epoch // a channel whose epoch is not greater begins a new one. Invariant: broken <= floor
	tables uint64      // bytes of all producers
	limits Limits
}

func (s *shard) append(b []byte) []byte {
	b = append(b, recordVersion)
	for _, v := range []uint64{
		s.time, uint64(s.floor), uint64(s.broken), s.tables,
		s.limits.Subject, s.limits.Channel, s.limits.Shard,
	} {
		b = putUint(b, v)
	}
	return b
}

func loadShard(r Reader) shard {
	b, ok := r.Get([]byte{kindShard})
	if !ok {
		return shard{limits: Limits{}.filled()}
	}
	d := newDecoder(b)
	s := shard{time: d.uint(), floor: relay.Epoch(d.uint()), broken: relay.Epoch(d.uint()), tables: d.uint()}
	s.limits = Limits{Subject: d.uint(), Channel: d.uint(), Shard: d.uint()}
	d.check("record", "shard")
	return s
}

// head returns where a channel stands: its last message, or the place before the first message
// of the epoch that its next publish begins.
func (s *shard) head(h *head, exists bool) relay.Position {
	if exists && h.at.Epoch > s.broken {
		return h.at
	}
	return relay.Position{Epoch: s.floor + 1} // above h's: broken <= floor
}

// Limits bound the memory of producers, in bytes as the machine counts them: 512 for each, and
// 448 more for every full sixteen numbers of its window; both and the length of channel and
// subject for each key that has them.
type Limits struct {
	Subject uint64 // of one subject; 0: 64 MiB
	Channel uint64 // of one channel; 0: 64 MiB
	Shard   uint64 // of all; 0: 256 MiB
}

func (l Limits) filled() Limits {
	if l.Subject == 0 {
		l.Subject = 64 << 20
	}
	if l.Channel == 0 {
		l.Channel = 64 << 20
	}
	if l.Shard == 0 {
		l.Shard = 256 << 20
	}
	return l
}
