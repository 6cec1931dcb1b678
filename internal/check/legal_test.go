package check

import (
	"fmt"
	"math/rand/v2"

	"github.com/meridian-relay/meridian/relay"
)

// A world is a home as it should be, with publishers and subscribers that record, in one thread:
// whatever it does is legal.
type world struct {
	r     *rand.Rand
	now   int64
	logs  []*Recorder
	homes []*homeChannel
	pubs  []*legalPub
	subs  []*legalSub
}

type homeChannel struct {
	name    relay.Channel
	stands  []uint64 // payloads; the first is seq 1
	cut     int      // so many were trimmed
	applied map[string]relay.Position
}

type legalPub struct {
	rec     *Recorder
	name    string
	channel *homeChannel
	n       uint64
	open    []attempt // on the way
	done    bool      // n has an answer
}

type attempt struct {
	op      Op
	payload uint64
	n       uint64
}

type legalSub struct {
	rec     *Recorder
	of      *Subscriber
	channel *homeChannel
	at      int
}

func newWorld(seed uint64) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 1))}
	clock := Clock{Name: "world", Now: func() int64 { w.now++; return w.now }}
	recorder := func(name string) *Recorder {
		r := NewRecorder(RecorderConfig{Name: name, Clock: clock})
		w.logs = append(w.logs, r)
		return r
	}
	for i := range 2 {
		w.homes = append(w.homes, &homeChannel{
			name: relay.Channel(fmt.Sprintf("d:%d", i)), applied: make(map[string]relay.Position),
		})
	}
	for i := range 4 {
		w.pubs = append(w.pubs, &legalPub{
			rec: recorder(fmt.Sprintf("pub%d", i)), name: fmt.Sprint(i), channel: w.homes[i%2], done: true,
		})
	}
	for i := range 4 {
		s := &legalSub{rec: recorder(fmt.Sprintf("sub%d", i)), channel: w.homes[i%2]}
		w.subs = append(w.subs, s)
	}
	return w
}

func payload(v uint64) []byte { return fmt.Append(nil, v) }

// run takes steps, and ends as a test does: all settled, all drained.
func (w *world) run(steps int) []*Log {
	for range steps {
		switch w.r.IntN(12) {
		case 0, 1, 2, 3:
			w.publish(w.pubs[w.r.IntN(len(w.pubs))])
		case 4, 5, 6, 7:
			w.arrive(w.pubs[w.r.IntN(len(w.pubs))])
		case 8:
			if h := w.homes[w.r.IntN(2)]; h.cut+20 < len(h.stands) {
				h.cut += w.r.IntN(3)
			}
		default:
			w.read(w.subs[w.r.IntN(len(w.subs))], 1+w.r.IntN(4))
		}
	}
	for _, p := range w.pubs {
		for len(p.open) > 0 {
			w.arrive(p)
		}
	}
	for _, s := range w.subs {
		if s.of != nil {
			w.read(s, 1<<30)
			s.of.Drained()
		}
	}
	rec := NewRecorder(RecorderConfig{Name: "replicas", Clock: w.logs[0].clock})
	for i := range 3 {
		for _, h := range w.homes {
			s := &legalSub{rec: rec, channel: h, of: rec.Replica(fmt.Sprintf("r%d", i), h.name), at: h.cut}
			s.of.Frame(relay.Frame{Kind: relay.KindOK, At: h.at(h.cut), Next: h.at(len(h.stands))}, nil)
			w.read(s, 1<<30)
			s.of.Frame(relay.Frame{Kind: relay.KindEnd, End: &relay.End{}}, nil)
		}
	}
	logs := []*Log{rec.Log()}
	for _, r := range w.logs {
		logs = append(logs, r.Log())
	}
	return logs
}

func (h *homeChannel) at(n int) relay.Position { return relay.Position{Epoch: 1, Seq: relay.Seq(n)} }

// publish begins the next message, or repeats the last.
func (w *world) publish(p *legalPub) {
	if len(p.open) > 2 {
		return
	}
	if p.done {
		p.n, p.done = p.n+1, false
	}
	// The payload depends on publisher and number alone, so that a repetition is one.
	a := attempt{n: p.n, payload: p.n*1000 + uint64(p.name[0])}
	a.op = p.rec.Publish(Publish{Channel: p.channel.name, Producer: p.name, N: p.n, Payload: payload(a.payload)})
	p.open = append(p.open, a)
}

// arrive lets the first attempt that is on the way arrive, or get lost, and its answer too.
func (w *world) arrive(p *legalPub) {
	if len(p.open) == 0 {
		return
	}
	a := p.open[0]
	p.open = p.open[1:]
	if w.r.IntN(8) == 0 {
		if w.r.IntN(2) == 0 {
			p.rec.Answer(a.op, relay.Position{}, relay.Unknown)
		}
		return
	}
	if w.r.IntN(10) == 0 {
		p.rec.Answer(a.op, relay.Position{}, relay.Busy)
		return
	}
	key := fmt.Sprintf("%s/%d", p.name, a.n)
	at, had := p.channel.applied[key]
	if !had {
		p.channel.stands = append(p.channel.stands, a.payload)
		at = p.channel.at(len(p.channel.stands))
		p.channel.applied[key] = at
	}
	if w.r.IntN(8) == 0 {
		return // the answer is lost
	}
	p.rec.Answer(a.op, at, relay.Done)
	if a.n == p.n {
		p.done = true
	}
}

// read opens a subscription, or goes on with it, or resumes it.
func (w *world) read(s *legalSub, most int) {
	h := s.channel
	if s.of == nil {
		q := relay.SubscribeRequest{Channel: h.name, Barrier: w.r.IntN(2) == 0}
		if w.r.IntN(2) == 0 {
			q.From.Kind = relay.StartFirst
		}
		s.of = s.rec.Subscribe(q)
		s.at = len(h.stands)
		if q.From.Kind == relay.StartFirst {
			s.at = h.cut
		}
		s.of.Frame(relay.Frame{Kind: relay.KindOK, At: h.at(s.at), Next: h.at(len(h.stands))}, nil)
		return
	}
	if w.r.IntN(10) == 0 {
		s.of.Frame(relay.Frame{Kind: relay.KindStatus, State: relay.Lost}, nil)
		s.of.Frame(relay.Frame{Kind: relay.KindOK, At: h.at(s.at), Next: h.at(len(h.stands))}, nil)
	}
	if s.at < h.cut {
		s.of.Frame(relay.Frame{Kind: relay.KindGap, At: h.at(s.at), Next: h.at(h.cut + 1), Reason: relay.GapTrimmed}, nil)
		s.at = h.cut
	}
	for ; most > 0 && s.at < len(h.stands); most-- {
		s.at++
		s.of.Frame(relay.Frame{Kind: relay.KindMessage, At: h.at(s.at)}, payload(h.stands[s.at-1]))
	}
}
