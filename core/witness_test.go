package core

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	checker "github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
	"github.com/meridian-relay/meridian/relay/wire"
)

// drainWithin is how long a world that is whole takes at most to answer and deliver all.
const drainWithin = 40 * time.Second

// A witness is publishers that repeat and subscribers that resume, at whichever node is there, and
// what they saw.
type witness struct {
	w        *simWorld
	channels []relay.Channel
	clock    checker.Clock
	logs     []*checker.Recorder
	subs     []*follower

	stopSend, stopRead context.CancelFunc
	senders, readers   sync.WaitGroup

	mu    sync.Mutex
	acked map[relay.Channel]relay.Position // the highest
	codes map[relay.Code]int               // of answers
	count int                              // acknowledged
	stuck []string                         // publishes that were refused for good
}

// witnessed starts publishers to channels of a namespace, and subscribers.
func witnessed(w *simWorld, ns string, publishers int, seed uint64) *witness {
	x := &witness{w: w, clock: checker.NewClock(), acked: make(map[relay.Channel]relay.Position), codes: make(map[relay.Code]int)}
	var sending, reading context.Context
	sending, x.stopSend = context.WithCancel(context.Background())
	reading, x.stopRead = context.WithCancel(context.Background())
	for i := range 4 {
		x.channels = append(x.channels, relay.Channel(fmt.Sprintf("%s:%d", ns, i)))
	}
	r := x.recorder("subscribers")
	for i, ch := range x.channels {
		f := &follower{channel: ch, rec: r, rng: rand.New(rand.NewPCG(seed, uint64(1000+i)))}
		x.subs = append(x.subs, f)
		x.readers.Go(func() { x.read(reading, f) })
	}
	for i := range publishers {
		who := fmt.Sprint("publisher-", i)
		log, rng := x.recorder(who), rand.New(rand.NewPCG(seed, uint64(i)))
		x.senders.Go(func() { x.send(sending, log, who, x.channels[i%len(x.channels)], rng) })
	}
	w.t.Cleanup(func() {
		x.stopSend()
		x.stopRead()
		x.senders.Wait()
		x.readers.Wait()
	})
	return x
}

func (x *witness) recorder(name string) *checker.Recorder {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := checker.NewRecorder(checker.RecorderConfig{Name: name, Clock: x.clock})
	x.logs = append(x.logs, r)
	return r
}

// send publishes one message after the other, each until it is answered. The last one may be
// given up once the senders were stopped for long.
func (x *witness) send(ctx context.Context, r *checker.Recorder, who string, ch relay.Channel, rng *rand.Rand) {
	id := relay.ProducerOf("alice", who)
	for n := uint64(1); ctx.Err() == nil; n++ {
		payload := fmt.Appendf(nil, "%s %s %d ", ch, who, n)
		payload = append(payload, bytes.Repeat([]byte{'x'}, rng.IntN(500))...)
		p := relay.Publication{Channel: ch, Subject: "alice", Producer: id, N: n, Body: relaytest.Body(string(payload), "")}
		op := r.Publish(checker.Publish{Channel: ch, Producer: who, N: n, Payload: payload})
		began := time.Now()
		given := began // since when nothing excuses that there is no outcome
		for {
			p.Age = time.Since(began)
			at, end := x.w.boxes[rng.IntN(len(x.w.boxes))].publish(p)
			x.mu.Lock()
			x.codes[end.Code]++
			if end.Code == relay.Done {
				x.count++
				if x.acked[ch].Before(at) {
					x.acked[ch] = at
				}
			}
			x.mu.Unlock()
			if end.Code == relay.Done || end.Code.Retry() == relay.Final {
				r.Answer(op, at, end.Code)
				if end.Code != relay.Done {
					x.gaveUp("%s %s %d: %v %s", ch, who, n, end.Code, end.Detail)
					return
				}
				break
			}
			if ctx.Err() == nil && end.Code != relay.OutOfOrder {
				given = time.Now()
			}
			if end.Code == relay.OutOfOrder && time.Since(given) > drainWithin/8 || time.Since(given) > drainWithin {
				x.gaveUp("%s %s %d: no outcome in %v: %v %s", ch, who, n, time.Since(given), end.Code, end.Detail)
				return
			}
			time.Sleep(time.Duration(5+rng.IntN(20)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	}
}

func (x *witness) gaveUp(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stuck = append(x.stuck, fmt.Sprintf(format, args...))
}

// wrong reports whether a publish was refused for good.
func (x *witness) wrong() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.stuck) > 0
}

// publish tries once, at this box. What the node answers after its power was cut, nobody hears.
func (b *box) publish(p relay.Publication) (relay.Position, relay.End) {
	type outcome struct {
		at  relay.Position
		end relay.End
	}
	got := make(chan outcome, 1)
	b.mu.RLock()
	l := b.life
	if l == nil {
		b.mu.RUnlock()
		return relay.Position{}, relay.End{Code: relay.Unavailable}
	}
	err := l.node.Upstream().Publish(p, func(at relay.Position, end relay.End) {
		// Whoever answers may hold locks of the node, and who cuts the power waits for none.
		b.mu.RLock()
		defer b.mu.RUnlock()
		if !l.dead {
			got <- outcome{at, end}
		}
	})
	b.mu.RUnlock()
	if err != nil {
		return relay.Position{}, relay.Refusal(err)
	}
	select {
	case o := <-got:
		return o.at, o.end
	case <-l.gone:
	}
	select {
	case o := <-got: // just before
		return o.at, o.end
	default:
		return relay.Position{}, relay.End{Code: relay.Unknown}
	}
}

// A follower is a subscription, resumed wherever there is a node.
type follower struct {
	channel relay.Channel
	rec     *checker.Recorder
	rng     *rand.Rand

	mu    sync.Mutex
	sub   *checker.Subscriber
	begun bool
	at    relay.Position
	lost  bool // told so, and not yet that it is restored
	told  int  // how often it was told so
}

func (x *witness) read(ctx context.Context, f *follower) {
	q := relay.SubscribeRequest{Channel: f.channel, From: relay.Start{Kind: relay.StartFirst}}
	f.mu.Lock()
	f.sub = f.rec.Subscribe(q)
	f.mu.Unlock()
	for ctx.Err() == nil {
		b := x.w.boxes[f.rng.IntN(len(x.w.boxes))]
		if l := b.alive(); l != nil {
			f.from(ctx, b, l, q)
		}
		if f.begun {
			q.From = relay.Start{Kind: relay.StartAfter, After: f.at}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// from reads at one node until that ends.
func (f *follower) from(ctx context.Context, b *box, l *life, q relay.SubscribeRequest) {
	woken := make(chan struct{}, 1)
	s := l.node.Upstream().Subscribe(q, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer s.Close()
	for {
		b.mu.RLock()
		if l.dead {
			b.mu.RUnlock()
			return
		}
		frames := s.Next(nil, 64<<10)
		f.mu.Lock()
		ended := f.take(frames)
		f.mu.Unlock()
		b.mu.RUnlock()
		if ended {
			return
		}
		if len(frames) > 0 {
			continue
		}
		select {
		case <-woken:
		case <-l.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// take notes frames. An End is the end of this attempt alone.
func (f *follower) take(frames []relay.Frame) (ended bool) {
	for _, x := range frames {
		switch x.Kind {
		case relay.KindEnd:
			if x.End.Deadline == 0 {
				return true
			}
			continue
		case relay.KindMessage:
			f.at = x.At
		case relay.KindOK:
			f.begun, f.at = true, x.At
		case relay.KindStatus:
			if f.lost = x.State == relay.Lost; f.lost {
				f.told++
			}
		}
		f.sub.Frame(x, payloadOf(x))
	}
	return false
}

func payloadOf(f relay.Frame) []byte {
	var m wire.Message
	if f.Kind == relay.KindMessage {
		_ = proto.Unmarshal(f.Body, &m) // the digest of nothing is found wrong
	}
	return m.Payload
}

// await waits for something; once something is wrong, it is judged as it is.
func (x *witness) await(what string, ok func() bool) {
	for late := time.Now().Add(drainWithin); !ok(); time.Sleep(10 * time.Millisecond) {
		if x.wrong() {
			return
		}
		if time.Now().After(late) {
			x.gaveUp("waited %v for %s", drainWithin, what)
		}
	}
}

// acknowledged is how many there were.
func (x *witness) acknowledged() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count
}

// goesOn waits until something more is acknowledged on every channel.
func (x *witness) goesOn() {
	x.w.t.Helper()
	x.mu.Lock()
	before := make(map[relay.Channel]relay.Position)
	for _, ch := range x.channels {
		before[ch] = x.acked[ch]
	}
	x.mu.Unlock()
	x.await("publishes on every channel", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		for ch, at := range before {
			if !at.Before(x.acked[ch]) {
				return false
			}
		}
		return true
	})
}

// verdict ends the publishers, waits until everybody has everything, reads what each replica has
// and judges it all.
func (x *witness) verdict() *checker.Verdict {
	x.w.t.Helper()
	x.stopSend()
	x.senders.Wait()
	x.await("subscribers to have everything", func() bool {
		for _, f := range x.subs {
			f.mu.Lock()
			at := f.at
			f.mu.Unlock()
			if at.Before(x.acked[f.channel]) {
				return false
			}
		}
		return true
	})
	for _, f := range x.subs {
		f.sub.Drained()
	}
	x.stopRead()
	x.readers.Wait()
	replicas := x.recorder("replicas")
	for _, b := range x.w.boxes {
		for _, ch := range x.channels {
			x.replica(replicas, b, ch)
		}
	}
	var logs []*checker.Log
	for _, r := range x.logs {
		logs = append(logs, r.Log())
	}
	v := checker.Run(checker.Config{Kept: []relay.Pattern{"*"}}, logs...)
	c := v.Counts
	x.w.t.Logf("%d acknowledged, %d delivered, %d resumed, %d histories; answers %v", c.Acknowledged, c.Messages, c.Resumed, c.Histories, x.codes)
	if c.Acknowledged == 0 || c.Histories == 0 {
		x.w.t.Errorf("the verdict rests on nothing: %+v", c)
	}
	return v
}

// replica records all that a box's replica of a channel has, if it is to have one.
func (x *witness) replica(r *checker.Recorder, b *box, ch relay.Channel) {
	x.w.t.Helper()
	local := b.alive().node.Local()
	if local.replica(local.plan.Load().owner(ch)) == nil {
		return
	}
	var frames []relay.Frame
	x.await(fmt.Sprintf("%s to have all of %s", b.name, ch), func() bool {
		woken := make(chan struct{}, 1)
		s := local.Subscribe(relay.SubscribeRequest{
			Channel: ch, From: relay.Start{Kind: relay.StartFirst}, Limit: relay.MaxNumber,
		}, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
		defer s.Close()
		var last relay.Position
		for frames = nil; ; {
			got := s.Next(nil, 1<<20)
			for _, f := range got {
				if f.Kind == relay.KindMessage {
					last = f.At
				}
				f.Body = bytes.Clone(f.Body)
				frames = append(frames, f)
				if f.Kind == relay.KindEnd {
					return f.End.Code == relay.Done && !last.Before(x.acked[ch])
				}
			}
			if len(got) == 0 {
				select {
				case <-woken:
				case <-time.After(5 * time.Second):
					return false
				}
			}
		}
	})
	s := r.Replica(b.name, ch)
	for _, f := range frames {
		s.Frame(f, payloadOf(f))
	}
}

// mustHold fails a test whose verdict is that a promise was broken, or whose publishers gave up.
func mustHold(t *testing.T, x *witness, v *checker.Verdict) {
	t.Helper()
	for _, s := range x.stuck {
		t.Error(s)
	}
	if !v.OK() {
		var b bytes.Buffer
		_ = v.Print(&b)
		t.Errorf("promises broken:\n%s", &b)
	}
}
