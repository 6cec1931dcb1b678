package channel

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meridian-relay/meridian/internal/planted"
	"github.com/meridian-relay/meridian/relay"
)

// Bounds of "order and once".
const (
	// Window is how many of a producer's last numbers are answered again.
	Window = 1024
	// MaxAge is how long after its first attempt a publish is still applied.
	MaxAge = 5 * time.Minute
	// ProducerTTL is how long a producer is remembered after its last use. It exceeds MaxAge by
	// more than the 30 s within which a publish is answered, so that no number of a producer
	// that is not known, if young enough, was ever applied.
	ProducerTTL = 10 * time.Minute
)

// What producers count in bytes, beside their names: record, index and the view's overhead.
const (
	producerCost = 512
	chunkCost    = 448
	// tableRetry is when to try again after a table was full.
	tableRetry = 5 * time.Second
)

// chunkLen is how many numbers share a record. Chunk k holds 16k+1 to 16k+16.
const chunkLen = 16

// keptChunks are the full chunks that a producer keeps: a window.
const keptChunks = Window / chunkLen

// A producerID names a producer. The subject is part of it, so that nobody can take or touch
// what another publishes under, though he knows or works out its sixteen bytes.
type producerID struct {
	channel relay.Channel
	subject relay.Subject
	id      relay.Producer
}

// cost is what the producer counts: its name stands in the keys of record and index.
func (id *producerID) cost() int { return producerCost + 2*(len(id.channel)+len(id.subject)) }

// chunkCost is what each of its full chunks counts.
func (id *producerID) chunkCost() int { return chunkCost + len(id.channel) + len(id.subject) }

// An entry is what became of a number.
type entry struct {
	seq    relay.Seq // 0: it was used up without a message
	digest uint64    // xxhash64 of the body
}

// A producer is the record of a producer in a channel while a batch holds it.
type producer struct {
	epoch  relay.Epoch // of its channel when it began; a later one closes it
	last   uint64      // its last number
	used   uint64      // time of last use, Unix ms
	expiry uint64      // where it stands in the index, Unix ms
	tail   []entry     // the numbers of the last chunk, up to last
	exists bool
	dirty  bool
}

// A subject is how much its producers take.
type subject struct {
	bytes uint64
	dirty bool
}

func (p *producer) append(b []byte) []byte {
	b = append(b, recordVersion)
	for _, v := range []uint64{uint64(p.epoch), p.last, p.used, p.expiry} {
		b = putUint(b, v)
	}
	return appendEntries(b, p.tail)
}

func (p *producer) decode(id producerID, b []byte) {
	d := newDecoder(b)
	p.epoch, p.last, p.used, p.expiry = relay.Epoch(d.uint()), d.uint(), d.uint(), d.uint()
	p.tail = decodeEntries(p.tail[:0], &d)
	d.check("producer", id.channel)
}

func appendEntries(b []byte, list []entry) []byte {
	for _, e := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(e.seq))
		b = binary.BigEndian.AppendUint64(b, e.digest)
	}
	return b
}

func decodeEntries(list []entry, d *decoder) []entry {
	d.bad = d.bad || len(d.b)%16 != 0
	for !d.bad && len(d.b) > 0 {
		list = append(list, entry{
			seq:    relay.Seq(binary.BigEndian.Uint64(d.b)),
			digest: binary.BigEndian.Uint64(d.b[8:]),
		})
		d.b = d.b[16:]
	}
	return list
}

// producer returns the producer of a channel.
func (b *Batch) producer(id producerID) *producer {
	if p, ok := b.producers[id]; ok {
		return p
	}
	p := &producer{}
	if n := len(b.freeProducers); n > 0 {
		p, b.freeProducers = b.freeProducers[n-1], b.freeProducers[:n-1]
	}
	if v, ok := b.v.Get(appendProducerKey(b.key[:0], id)); ok {
		p.decode(id, v)
		p.exists = true
	}
	b.producers[id] = p
	return p
}

func (b *Batch) subject(name relay.Subject) *subject {
	if s, ok := b.subjects[name]; ok {
		return s
	}
	s := &subject{}
	if v, ok := b.v.Get(appendName(b.key[:0], kindSubject, name)); ok {
		d := newDecoder(v)
		s.bytes = d.uint()
		d.check("subject", name)
	}
	b.subjects[name] = s
	return s
}

// publishOnce applies the next number of a producer, and answers earlier ones.
func (b *Batch) publishOnce(s *state, p *relay.Publication) (relay.Position, relay.End) {
	id := producerID{p.Channel, p.Subject, p.Producer}
	pr := b.producer(id)
	if pr.exists {
		if at, end, done := b.repeated(s, pr, id, p); done {
			return at, end
		}
	} else if end := unknownProducer(p); end.Code != relay.Done {
		return relay.Position{}, end
	}
	e := entry{}
	if !p.Void {
		if end := checkBody(s.policy, p.Body); end.Code != relay.Done {
			return relay.Position{}, end
		}
		e.digest = xxhash.Sum64(p.Body)
	}
	if end := b.room(s, pr, id); end.Code != relay.Done {
		return relay.Position{}, end
	}
	if p.Void {
		b.begin(s)
		b.record(s, pr, id, e)
		return relay.Position{}, relay.End{Code: relay.Voided}
	}
	at := b.put(s, p)
	e.seq = at.Seq
	b.record(s, pr, id, e)
	return at, relay.End{}
}

// unknownProducer refuses what cannot begin a producer that has no entry. While its age is
// allowed, the entry would still be there had the number been applied: so it was not, and
// neither was number 1 if the producer is new.
func unknownProducer(p *relay.Publication) relay.End {
	switch {
	case p.Age > MaxAge:
		return relay.End{Code: relay.TooOld, Detail: fmt.Sprintf(
			"number %d of a producer that is not known here: whether it was applied cannot be told", p.N)}
	case p.N != 1:
		return relay.End{Code: relay.OutOfOrder, Detail: fmt.Sprintf(
			"number %d of a producer that is not known here: the next is 1", p.N)}
	}
	return relay.End{}
}

// repeated answers everything but the next number of a producer that is open.
func (b *Batch) repeated(s *state, pr *producer, id producerID, p *relay.Publication) (at relay.Position, end relay.End, done bool) {
	refuse := func(code relay.Code, format string, args ...any) (relay.Position, relay.End, bool) {
		return relay.Position{}, relay.End{Code: code, Detail: fmt.Sprintf(format, args...)}, true
	}
	if p.N <= pr.last {
		e, ok := b.lookup(pr, id, p.N)
		if !ok {
			return refuse(relay.TooOld, "number %d: the last is %d, and %d are remembered", p.N, pr.last, Window)
		}
		pr.used, pr.dirty = b.shard.time, true
		switch {
		case e.seq == 0:
			return relay.Position{}, relay.End{Code: relay.Voided}, true
		case !p.Void && e.digest != xxhash.Sum64(p.Body):
			return refuse(relay.Conflict, "number %d was used for another payload", p.N)
		}
		return relay.Position{Epoch: pr.epoch, Seq: e.seq}, relay.End{}, true
	}
	switch closed := pr.epoch != s.at.Epoch || pr.epoch <= b.shard.broken; {
	case closed && !planted.On(planted.KeepProducers):
		return refuse(relay.TooOld, "the channel began a new epoch: take a new producer")
	case p.N != pr.last+1:
		return refuse(relay.OutOfOrder, "number %d: the next is %d", p.N, pr.last+1)
	case p.Age > MaxAge && !p.Void:
		return refuse(relay.TooOld, "first tried %v ago; at most %v", p.Age.Round(time.Second), MaxAge)
	}
	return relay.Position{}, relay.End{}, false
}

// lookup returns what became of number n, which is not beyond the last.
func (b *Batch) lookup(pr *producer, id producerID, n uint64) (entry, bool) {
	if n == 0 || n+Window <= pr.last {
		return entry{}, false
	}
	tail := pr.last - uint64(len(pr.tail)) // the last number before the tail
	if n > tail {
		return pr.tail[n-tail-1], true
	}
	v, ok := b.v.Get(appendWindowKey(b.key[:0], id, (n-1)/chunkLen))
	if !ok {
		return entry{}, false
	}
	d := newDecoder(v)
	list := decodeEntries(make([]entry, 0, chunkLen), &d)
	d.check("window", id.channel)
	return list[(n-1)%chunkLen], true
}

// room refuses what would take the tables of producers beyond their bounds.
func (b *Batch) room(s *state, pr *producer, id producerID) relay.End {
	need := uint64(0)
	switch {
	case !pr.exists:
		need = uint64(id.cost())
	case len(pr.tail) == chunkLen && pr.last <= Window:
		need = uint64(id.chunkCost())
	default:
		return relay.End{}
	}
	full := ""
	switch l := b.shard.limits; {
	case b.subject(id.subject).bytes+need > l.Subject:
		full = "this subject"
	case s.tables+need > l.Channel:
		full = "this channel"
	case b.shard.tables+need > l.Shard:
		full = "this shard"
	default:
		return relay.End{}
	}
	return relay.End{Code: relay.Busy, RetryAfter: tableRetry, Detail: fmt.Sprintf(
		"the table of producers of %s is full; producers leave it %v after their last use", full, ProducerTTL)}
}

// count adds to what producers take.
func (b *Batch) count(s *state, name relay.Subject, delta int) {
	sub := b.subject(name)
	sub.bytes += uint64(delta)
	s.tables += uint64(delta)
	b.shard.tables += uint64(delta)
	sub.dirty, s.dirty, b.dirty = true, true, true
}

// record notes what became of the producer's next number.
func (b *Batch) record(s *state, pr *producer, id producerID, e entry) {
	if !pr.exists {
		*pr = producer{epoch: s.at.Epoch, exists: true, tail: pr.tail[:0]}
		pr.expiry = b.shard.time + uint64(ProducerTTL.Milliseconds())
		b.v.Set(appendExpiryKey(b.key[:0], pr.expiry, id), []byte{recordVersion})
		b.count(s, id.subject, id.cost())
	}
	if len(pr.tail) == chunkLen {
		chunk := (pr.last - 1) / chunkLen
		b.v.Set(appendWindowKey(b.key[:0], id, chunk),
			appendEntries(append(make([]byte, 0, 1+16*chunkLen), recordVersion), pr.tail))
		if chunk >= keptChunks {
			b.v.Delete(appendWindowKey(b.key[:0], id, chunk-keptChunks))
		} else {
			b.count(s, id.subject, id.chunkCost())
		}
		pr.tail = pr.tail[:0]
	}
	pr.tail = append(pr.tail, e)
	pr.last++
	pr.used, pr.dirty = b.shard.time, true
}

// flushProducers writes the producers and subjects that the batch holds.
func (b *Batch) flushProducers() {
	for id, p := range b.producers {
		if p.dirty && p.exists {
			b.v.Set(appendProducerKey(b.key[:0], id),
				p.append(make([]byte, 0, 48+16*len(p.tail))))
			p.dirty = false
		}
	}
	for name, s := range b.subjects {
		switch {
		case s.dirty && s.bytes == 0:
			b.v.Delete(appendName(b.key[:0], kindSubject, name))
		case s.dirty:
			b.v.Set(appendName(b.key[:0], kindSubject, name), putUint([]byte{recordVersion}, s.bytes))
		}
		s.dirty = false
	}
}

// Expire forgets producers that were not used for ProducerTTL, looking at no more than most of
// them. It returns how many it looked at; most of them: call it again.
func (b *Batch) Expire(most int) int {
	type due struct {
		at uint64
		id producerID
	}
	var list []due
	end := appendDueKey(nil, b.shard.time+1, "")
	end[0] = kindExpiry
	for k := range b.v.Ascend([]byte{kindExpiry}, end) {
		if len(list) == most {
			break
		}
		at, id := expiryKey(k)
		list = append(list, due{at, id})
	}
	for _, d := range list {
		b.v.Delete(appendExpiryKey(b.key[:0], d.at, d.id))
		pr := b.producer(d.id)
		if next := pr.used + uint64(ProducerTTL.Milliseconds()); next > b.shard.time {
			pr.expiry, pr.dirty = next, true
			b.v.Set(appendExpiryKey(b.key[:0], next, d.id), []byte{recordVersion})
			continue
		}
		b.forgetProducer(pr, d.id)
	}
	return len(list)
}

func (b *Batch) forgetProducer(pr *producer, id producerID) {
	s := b.load(id.channel)
	b.v.Delete(appendProducerKey(b.key[:0], id))
	cost := id.cost()
	if pr.last > 0 {
		// Full chunks before the tail, of which a window's worth was kept.
		last := (pr.last - 1) / chunkLen
		first := last - min(last, keptChunks)
		for c := first; c < last; c++ {
			b.v.Delete(appendWindowKey(b.key[:0], id, c))
			cost += id.chunkCost()
		}
	}
	b.count(s, id.subject, -cost)
	*pr = producer{tail: pr.tail[:0]}
	b.reschedule(s, id.channel)
}
