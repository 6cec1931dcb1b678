package shard_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A publisher publishes to one channel, in order, with several on the way, and repeats what was
// not answered, as an SDK does.
type publisher struct {
	s        *sim
	index    int
	shard    shard.ID
	channel  relay.Channel
	bare     bool // it publishes without a producer, and repeats nothing
	producer relay.Producer
	names    int // producers that it has had
	sent     uint64
	low      uint64 // the first number that is not acknowledged
	made     int    // messages, of all producers
	first    map[uint64]time.Duration
	payload  map[uint64]string
	tried    map[uint64]bool

	node    *simNode
	link    int           // a new one with every beginning
	last    time.Duration // when the last message arrives there
	heard   time.Duration // progress
	every   time.Duration // it has a message to publish
	waiting bool          // for that
	idle    bool
}

const inFlight = 6

func newPublisher(s *sim, i int) *publisher {
	id := s.shards[i%len(s.shards)]
	p := &publisher{s: s, index: i, shard: id}
	ns := namespaces[i/len(s.shards)%len(namespaces)]
	p.channel = relay.Channel(fmt.Sprintf("%s:c%d", namespace(ns, id), i%2))
	p.every = s.between(0, s.plan.length/time.Duration(s.plan.messages))
	p.bare = i == s.plan.publishers-1
	p.fresh()
	p.relink(s.between(0, 500*time.Millisecond), "")
	return p
}

// fresh takes a new producer.
func (p *publisher) fresh() {
	p.names++
	p.producer = relay.Producer{byte(p.index + 1), byte(p.names), 7}
	p.sent, p.low = 0, 1
	p.first, p.payload, p.tried = make(map[uint64]time.Duration), make(map[uint64]string), make(map[uint64]bool)
}

func (p *publisher) done() bool { return p.made >= p.s.plan.messages && p.low > p.sent || p.idle }

// relink begins anew with the first message that is not acknowledged, on another node.
func (p *publisher) relink(d time.Duration, hint shard.Node) {
	p.link++
	link := p.link
	if p.bare {
		d += p.s.between(500*time.Millisecond, 2*time.Second) // what is refused is lost to it
	}
	p.s.after(d, func() {
		if p.link != link {
			return
		}
		p.node = p.s.byName[hint]
		if p.node == nil {
			p.node = p.s.nodes[p.s.rand.IntN(len(p.s.nodes))]
		}
		if p.bare {
			s := &p.s.stats
			s.given += int(p.sent + 1 - p.low)
			p.low = p.sent + 1
		}
		p.made -= int(p.sent - (p.low - 1)) // they are sent again
		p.sent, p.last, p.heard = p.low-1, p.s.now, p.s.now
		p.pump(link)
		p.watch(link)
	})
}

// watch gives a link up on which nothing comes.
func (p *publisher) watch(link int) {
	p.s.after(500*time.Millisecond, func() {
		switch {
		case p.link != link || p.done():
		case p.s.now-p.heard > 2*time.Second && p.low <= p.sent:
			p.relink(0, "")
		default:
			p.watch(link)
		}
	})
}

func (p *publisher) pump(link int) {
	if p.link != link || p.done() {
		return
	}
	for p.sent < p.low+inFlight-1 && p.made < p.s.plan.messages {
		if wait := time.Duration(p.made)*p.every - p.s.now; wait > 0 {
			if !p.waiting {
				p.waiting = true
				p.s.after(wait, func() { p.waiting = false; p.pump(p.link) })
			}
			return
		}
		p.sent++
		p.made++
		p.send(link, p.sent)
	}
}

// pace lets publishes spread over the run.
func (p *publisher) pace() time.Duration { return p.s.between(0, p.s.plan.pace) }

func (p *publisher) send(link int, n uint64) {
	s := p.s
	if _, again := p.payload[n]; !again {
		p.payload[n] = fmt.Sprintf("p%d.%d.%d", p.index, p.names, n)
		p.first[n] = s.now
		s.stats.published++
	}
	if p.tried[n] {
		s.stats.repeated++
	}
	p.tried[n] = true
	body := relaytest.Body(p.payload[n], "")
	noted := check.Publish{Channel: p.channel, Payload: []byte(p.payload[n])}
	pub := relay.Publication{Channel: p.channel, Subject: "alice", Body: body}
	if !p.bare {
		noted.Producer, noted.N = fmt.Sprintf("%x", p.producer[:3]), n
		pub.Producer, pub.N, pub.Age = p.producer, n, s.now-p.first[n]
	}
	op := s.rec.Publish(noted)
	p.last = max(p.last, s.now+s.delay())
	node, producer := p.node, p.producer
	reply := func(at relay.Position, end relay.End) {
		d := s.delay()
		s.after(d, func() { p.answered(link, op, producer, n, at, end) })
	}
	s.push(&event{at: p.last, node: node, boot: node.boot, do: func() {
		if err := node.host.Publish(p.shard, pub, reply); err != nil {
			reply(relay.Position{}, relay.End{Code: relay.Busy})
		}
	}})
}

func (p *publisher) answered(link int, op check.Op, producer relay.Producer, n uint64, at relay.Position, end relay.End) {
	if p.producer != producer || p.link != link && end.Code != relay.Done {
		return
	}
	s := p.s
	s.mix(uint64(p.index), n, uint64(end.Code), uint64(at.Epoch), uint64(at.Seq))
	s.rec.Answer(op, at, end.Code)
	switch end.Code {
	case relay.Done:
		delete(p.payload, n)
		p.heard = s.now
		for p.low <= p.sent && p.payload[p.low] == "" {
			p.low++
			s.stats.acknowledged++
		}
		s.after(p.pace(), func() { p.pump(p.link) })
	case relay.TooOld: // a new epoch: what is not answered may have been applied or not
		s.stats.given += int(p.sent - p.low + 1)
		p.fresh()
		p.relink(s.delay(), p.node.name)
	case relay.Moved, relay.Unavailable, relay.Busy, relay.OutOfOrder, relay.Unknown:
		hint := shard.Node("")
		if len(end.Hint.Alternatives) > 0 {
			hint = shard.Node(end.Hint.Alternatives[0])
		}
		p.relink(s.between(20*time.Millisecond, 200*time.Millisecond), hint)
	default:
		s.fail("publish %d of %x to %s: %v %s", n, p.producer[:3], p.channel, end.Code, end.Detail)
	}
}

// A subscriber reads a channel from the applied states of one node after the other.
type subscriber struct {
	s       *sim
	index   int
	shard   shard.ID
	channel relay.Channel
	rec     *check.Subscriber
	at      relay.Position
	began   bool // there is a position to go on from

	node   *simNode
	boot   int
	cursor *channel.Cursor
	asking int // a barrier is out
}

func newSubscriber(s *sim, i int) *subscriber {
	id := s.shards[i%len(s.shards)]
	u := &subscriber{s: s, index: i, shard: id}
	ns := namespaces[i/len(s.shards)%len(namespaces)]
	u.channel = relay.Channel(fmt.Sprintf("%s:c%d", namespace(ns, id), i%2))
	s.after(s.between(0, time.Second), u.step)
	return u
}

func (u *subscriber) step() {
	s := u.s
	s.after(s.between(20*time.Millisecond, 250*time.Millisecond), u.step)
	if u.asking > 0 {
		if u.asking--; u.asking > 0 {
			return
		}
	}
	if u.cursor != nil && (u.node.boot != u.boot || s.chance(0.05)) {
		u.cursor = nil
	}
	if u.cursor == nil {
		u.open(s.nodes[s.rand.IntN(len(s.nodes))])
	}
	u.read()
}

// open begins, or goes on, on a node.
func (u *subscriber) open(n *simNode) {
	rd, ok := n.reads(u.shard)
	if !ok {
		return
	}
	defer rd.Close()
	q := relay.SubscribeRequest{Channel: u.channel, From: relay.Start{Kind: relay.StartFirst}}
	if u.began {
		q.From = relay.Start{Kind: relay.StartAfter, After: u.at}
	} else if u.s.chance(0.5) {
		q.From = relay.Start{Kind: relay.StartLive}
	}
	c, f := channel.Open(rd, &q, start.Add(u.s.now))
	if f.Kind != relay.KindOK {
		u.s.fail("%s refuses a subscription: %v", n.name, f.End)
		return
	}
	if u.began && f.Next.Before(u.at) {
		// The replica may be behind, so ask what was acknowledged, and judge then.
		boot := n.boot
		u.asking = 40
		u.s.stats.barriers++
		n.host.Barrier(u.shard, func(end relay.End) {
			u.asking = 0
			if end.Code == relay.Done && n.boot == boot && u.cursor == nil {
				u.resume(n)
			}
		})
		n.drain()
		return
	}
	u.take(n, c, f, &q)
}

// resume goes on after a barrier: what is not there now was never committed.
func (u *subscriber) resume(n *simNode) {
	rd, ok := n.reads(u.shard)
	if !ok {
		return
	}
	defer rd.Close()
	q := relay.SubscribeRequest{Channel: u.channel, From: relay.Start{Kind: relay.StartAfter, After: u.at}}
	c, f := channel.Open(rd, &q, start.Add(u.s.now))
	if f.Next.Before(u.at) {
		u.s.fail("%s ends at %v on %s after a barrier; %v was delivered", u.channel, f.Next, n.name, u.at)
	}
	u.take(n, c, f, &q)
}

func (u *subscriber) take(n *simNode, c channel.Cursor, f relay.Frame, q *relay.SubscribeRequest) {
	if u.rec == nil {
		u.rec = u.s.rec.Subscribe(*q)
	}
	u.rec.Frame(f, nil)
	u.cursor, u.node, u.boot, u.at, u.began = &c, n, n.boot, f.At, true
}

func (u *subscriber) read() {
	if u.cursor == nil {
		return
	}
	rd, ok := u.node.reads(u.shard)
	if !ok || u.node.boot != u.boot {
		u.cursor = nil
		return
	}
	defer rd.Close()
	frames, _ := u.cursor.Read(rd, nil, 1+u.s.rand.IntN(2000))
	for _, f := range frames {
		u.rec.Frame(f, payloadOf(f.Body))
		if f.Kind == relay.KindMessage {
			u.s.stats.delivered++
		}
	}
	u.at = u.cursor.At()
	u.s.mix(uint64(u.index), uint64(u.at.Epoch), uint64(u.at.Seq))
}

// payloadOf returns a message's payload.
func payloadOf(body []byte) []byte {
	if len(body) == 0 {
		return nil
	}
	var m wire.Message
	if err := proto.Unmarshal(body, &m); err != nil {
		return nil
	}
	return m.GetPayload()
}

// barrier reads behind a barrier now and then: it sees what was acknowledged before.
func (s *sim) barrier() {
	if s.draining {
		return
	}
	s.after(s.between(50*time.Millisecond, 400*time.Millisecond), s.barrier)
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	id := s.shards[s.rand.IntN(len(s.shards))]
	if rd, ok := n.reads(id); ok {
		rd.Close()
	} else {
		return
	}
	ch := relay.Channel(fmt.Sprintf("%s:c%d", namespace(namespaces[s.rand.IntN(2)], id), s.rand.IntN(2)))
	q := relay.SubscribeRequest{Channel: ch, From: relay.Start{Kind: relay.StartLive}, Barrier: true}
	rec := s.rec.Subscribe(q)
	boot := n.boot
	s.stats.barriers++
	n.host.Barrier(id, func(end relay.End) {
		rd, ok := n.reads(id)
		if end.Code != relay.Done || n.boot != boot || !ok {
			return
		}
		defer rd.Close()
		_, f := channel.Open(rd, &q, start.Add(s.now))
		rec.Frame(f, nil)
	})
	n.drain()
}
