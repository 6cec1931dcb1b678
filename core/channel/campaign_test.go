package channel_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	told "github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// TestCampaignChannel runs random commands on two machines, one command a batch and many a
// batch, and on a naive model: both machines hold the same bytes, and answer and read as the
// model says. MERIDIAN_SEED and MERIDIAN_FOR set where it begins and how long it takes.
func TestCampaignChannel(t *testing.T) {
	seed, length := told.Settings(t, 3*time.Second)
	commands := 0
	begin := time.Now()
	for ; time.Since(begin) < length; seed++ {
		c := newCampaign(t, seed)
		for range 1000 {
			c.step()
		}
		c.sync()
		commands += 1000
		if t.Failed() {
			break
		}
	}
	t.Logf("%d commands, up to seed %d", commands, seed)
}

// A campaign is two machines and the model.
type campaign struct {
	t      *testing.T
	seed   uint64
	rand   *rand.Rand
	now    time.Time
	single *machine // one command a batch
	many   *machine // many
	models []*model
	floor  relay.Epoch
	broken relay.Epoch

	cursors []*campaignCursor
	numbers int
}

type machine struct {
	view  *memview.View
	batch *channel.Batch
	open  bool
}

type campaignCursor struct {
	channel.Cursor
	m      *model
	latest bool
}

func newCampaign(t *testing.T, seed uint64) *campaign {
	c := &campaign{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1_000_000, 0)}
	c.single = &machine{view: memview.New(), batch: channel.NewBatch()}
	c.many = &machine{view: memview.New(), batch: channel.NewBatch()}
	for i, p := range policies() {
		ns := relay.Namespace(fmt.Sprintf("ns%d", i))
		c.both(func(b *channel.Batch) {
			if err := b.SetPolicy(ns, p); err != nil {
				t.Fatal(err)
			}
			b.Own(ns, 0, relay.Slots-1)
		})
		for j := range 2 {
			c.models = append(c.models, &model{
				channel: relay.Channel(fmt.Sprintf("%s:%d", ns, j)), policy: p,
				producers: make(map[modelID]*modelProducer),
			})
		}
	}
	return c
}

func policies() []channel.Policy {
	return []channel.Policy{
		{Age: -1, Bytes: 1 << 30},
		{Age: 20 * time.Second, ForgetAfter: time.Minute},
		{Age: -1, Count: 20},
		{Age: -1, Bytes: 600},
		{Age: 15 * time.Second, Keyed: true},
		{Age: -1, Keyed: true, Bytes: 400},
	}
}

// policy changes a namespace's policy, in the midst of publishing.
func (c *campaign) policy() {
	p := policies()[c.rand.IntN(len(policies()))]
	m := c.models[c.rand.IntN(len(c.models))]
	ns := m.channel.Namespace()
	c.publish(m)
	defer c.publish(m)
	c.both(func(b *channel.Batch) {
		if err := b.SetPolicy(ns, p); err != nil {
			c.fail("%v", err)
		}
	})
	for _, m := range c.models {
		if m.channel.Namespace() == ns {
			m.policy = p
		}
	}
}

func (c *campaign) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("seed %d: %s", c.seed, fmt.Sprintf(format, args...))
}

// both applies a command to both machines. The second one's batch stays open.
func (c *campaign) both(f func(b *channel.Batch)) {
	c.single.batch.Begin(c.single.view, c.now)
	f(c.single.batch)
	c.single.batch.Commit()
	if !c.many.open {
		c.many.batch.Begin(c.many.view, c.now)
		c.many.open = true
	}
	c.many.batch.Advance(c.now)
	f(c.many.batch)
}

// commit ends the second machine's batch.
func (c *campaign) commit() {
	if c.many.open {
		c.many.batch.Commit()
		c.many.open = false
	}
}

// sync ends the batch, and compares the views.
func (c *campaign) sync() {
	c.commit()
	if a, b := dump(c.single.view), dump(c.many.view); !bytes.Equal(a, b) {
		c.fail("the grouping of commands shows in the view:\n%q\n%q", a, b)
	}
}

func dump(v *memview.View) []byte {
	var b []byte
	for k, v := range v.Ascend(nil, []byte{0xff}) {
		b = append(append(append(append(b, k...), '='), v...), '\n')
	}
	return b
}

// step does something random.
func (c *campaign) step() {
	switch n := c.rand.IntN(100); {
	case n < 60:
		c.publish(c.models[c.rand.IntN(len(c.models))])
	case n < 75:
		c.read()
	case n < 85:
		c.subscribe(c.models[c.rand.IntN(len(c.models))])
	case n < 90:
		c.upkeep()
	case n < 97:
		if c.rand.IntN(2) == 0 {
			c.commit()
		}
		c.now = c.now.Add(time.Duration(c.rand.IntN(4000)) * time.Millisecond)
		if c.rand.IntN(60) == 0 {
			c.now = c.now.Add(time.Duration(c.rand.IntN(700)) * time.Second)
		}
	case c.rand.IntN(2) == 0:
		c.policy()
	case c.rand.IntN(15) == 0:
		c.floor += relay.Epoch(1 + c.rand.IntN(3))
		c.broken = c.floor
		c.both(func(b *channel.Batch) { b.Raise(c.floor, true) })
	}
}

func (c *campaign) isBroken(m *model) bool { return m.exists && m.head.Epoch <= c.broken }

// head says where a model's channel stands for a reader.
func (c *campaign) head(m *model) relay.Position {
	if m.exists && !c.isBroken(m) {
		return m.head
	}
	return relay.Position{Epoch: max(c.floor, m.head.Epoch) + 1}
}

func (c *campaign) publish(m *model) {
	c.numbers++
	payload := fmt.Sprintf("p%d", c.numbers%7)
	key := []string{"", "", "a", "b", "c"}[c.rand.IntN(5)]
	p := relay.Publication{Channel: m.channel, Subject: "alice", Body: relaytest.Body(payload, key)}
	if c.rand.IntN(3) > 0 {
		c.number(m, &p)
	}
	if c.rand.IntN(8) == 0 && p.N > 0 {
		p.Void, p.Body = true, nil
	}
	want, code, put := m.expect(p, string(p.Body), c.isBroken(m))
	if put {
		want = c.head(m).Next()
		if p.Void {
			want = relay.Position{}
		}
	}
	c.both(func(b *channel.Batch) {
		at, end := b.Publish(p)
		if at != want || end.Code != code {
			c.fail("publish %s n=%d void=%v age=%v: %v %v %q, want %v %v",
				p.Channel, p.N, p.Void, p.Age, at, end.Code, end.Detail, want, code)
		}
	})
	c.note(m, p, put, want, code, key)
}

// number makes p a publish of a producer, mostly the next.
func (c *campaign) number(m *model, p *relay.Publication) {
	p.Producer = relay.Producer{byte(1 + c.rand.IntN(4))}
	if c.rand.IntN(10) == 0 {
		p.Subject = relay.Subject([]string{"", "bob", "\x00\x01"}[c.rand.IntN(3)])
	}
	p.N = uint64(c.rand.IntN(3))
	if pr := m.producers[modelID{p.Subject, p.Producer}]; pr != nil {
		p.N += uint64(len(pr.numbers))
		if c.rand.IntN(3) > 0 {
			p.N = uint64(len(pr.numbers)) + 1
		}
	}
	p.N = max(p.N, 1)
	if c.rand.IntN(20) == 0 {
		p.Age = 6 * time.Minute
	}
}

// note writes down in the model what happened.
func (c *campaign) note(m *model, p relay.Publication, put bool, at relay.Position, code relay.Code, key string) {
	pr := m.producers[modelID{p.Subject, p.Producer}]
	if put {
		if m.head = c.head(m); !m.exists {
			m.exists = true
		}
		if !p.Void {
			size := uint64(len(p.Body) + 1 + 5) // with the time
			if p.Subject != "" {
				size += uint64(2 + len(p.Subject))
			}
			m.put(modelMessage{at: at, payload: string(p.Body), key: key, size: size, time: c.now})
		}
		if p.N > 0 && pr == nil {
			pr = &modelProducer{epoch: m.head.Epoch}
			m.producers[modelID{p.Subject, p.Producer}] = pr
		}
		if p.N > 0 {
			pr.numbers = append(pr.numbers, modelNumber{at, string(p.Body)})
		}
	}
	if pr != nil && (put || code == relay.Done || code == relay.Voided || code == relay.Conflict) {
		pr.used = c.now
	}
}
