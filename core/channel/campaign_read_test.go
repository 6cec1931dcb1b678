package channel_test

import (
	"maps"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// subscribe opens a cursor, and drops an old one.
func (c *campaign) subscribe(m *model) {
	c.sync()
	r := relay.SubscribeRequest{Channel: m.channel, Mode: relay.Mode(c.rand.IntN(2))}
	first := c.head(m)
	if len(m.messages) > 0 {
		first = relay.Position{Epoch: m.messages[0].at.Epoch, Seq: m.messages[0].at.Seq - 1}
	}
	want := c.head(m)
	switch c.rand.IntN(5) {
	case 0:
		r.From.Kind, want = relay.StartFirst, first
	case 1:
		at := relay.Position{Epoch: first.Epoch, Seq: relay.Seq(c.rand.IntN(int(want.Seq) + 1))}
		r.From, want = relay.Start{Kind: relay.StartAfter, After: at}, at
	case 2:
		n := c.rand.IntN(12)
		r.From = relay.Start{Kind: relay.StartLast, Count: uint64(n)}
		if n > 0 && len(m.messages) > 0 {
			at := m.messages[max(len(m.messages)-n, 0)].at
			want = relay.Position{Epoch: at.Epoch, Seq: at.Seq - 1}
		}
	case 3:
		r.From = relay.Start{Kind: relay.StartSince, Since: time.Duration(c.rand.IntN(30)) * time.Second}
		for _, x := range m.messages {
			if !x.time.Before(c.now.Add(-r.From.Since)) {
				want = relay.Position{Epoch: x.at.Epoch, Seq: x.at.Seq - 1}
				break
			}
		}
	}
	cur, ok := channel.Open(c.many.view, &r, c.now)
	c.since(m, &r, ok, want)
	if len(c.cursors) > 30 {
		c.cursors = c.cursors[1:]
	}
	c.cursors = append(c.cursors, &campaignCursor{Cursor: cur, m: m, latest: r.Mode == relay.Latest})
}

// since checks an OK. Of a start by time in a channel with holes only the messages that follow
// are determined, not the place before them.
func (c *campaign) since(m *model, r *relay.SubscribeRequest, ok relay.Frame, want relay.Position) {
	good := ok.Kind == relay.KindOK && ok.Next == c.head(m) && ok.At == want
	if r.From.Kind == relay.StartSince && ok.Kind == relay.KindOK {
		good = true
		for _, x := range m.messages {
			good = good && want.Before(x.at) == ok.At.Before(x.at)
		}
	}
	if !good {
		c.fail("subscribe %s %+v: %s, want it at %v, head %v", m.channel, r.From, relaytest.Describe(ok), want, c.head(m))
	}
}

// read reads a random cursor, all of it, in bites.
func (c *campaign) read() {
	c.sync()
	if len(c.cursors) == 0 {
		return
	}
	cur := c.cursors[c.rand.IntN(len(c.cursors))]
	at, head := cur.At(), c.head(cur.m)
	if head.Before(at) {
		return // of an epoch that came to nothing; scenarios look at it
	}
	want := cur.m.read(at, head)
	if cur.latest {
		want = cur.m.latest(at)
	}
	var got []relay.Frame
	for more := true; more; {
		got, more = cur.Read(c.many.view, got, 1+c.rand.IntN(200))
	}
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		g, w := got[i], want[i]
		same = g.Kind == w.Kind && g.At == w.At && g.Next == w.Next && g.Reason == w.Reason
	}
	if !same {
		c.fail("read %s after %v: %s, want %s", cur.m.channel, at, list(got), list(want))
	}
	c.bodies(cur.m, got)
	if cur.At() != head {
		c.fail("read %s to %v, the head is %v", cur.m.channel, cur.At(), head)
	}
}

// bodies checks that messages are the ones that were published.
func (c *campaign) bodies(m *model, frames []relay.Frame) {
	for _, f := range frames {
		for _, x := range m.messages {
			if x.at == f.At && f.Kind == relay.KindMessage && string(f.Body[:len(x.payload)]) != x.payload {
				c.fail("message %v of %s is not what was published", f.At, m.channel)
			}
		}
	}
}

func list(frames []relay.Frame) (s string) {
	for _, f := range frames {
		s += "[" + relaytest.Describe(f) + "]"
	}
	return s
}

// upkeep applies what is due, and checks that it leaves what the policies ask for.
func (c *campaign) upkeep() {
	for round := range 200 {
		c.sync()
		steps := channel.Due(c.single.view, c.now, 64)
		if round < 3 && len(steps) > 0 { // steps are sound whenever they are applied
			c.publish(c.models[c.rand.IntN(len(c.models))])
		}
		for _, s := range steps {
			forgotten := false
			c.both(func(b *channel.Batch) { forgotten = b.Apply(s) })
			for _, m := range c.models {
				if m.channel != s.Channel || s.Op == channel.Forget && !forgotten {
					continue
				}
				if forgotten {
					c.floor = max(c.floor, m.head.Epoch)
				}
				m.apply(s)
			}
		}
		expired := 0
		c.both(func(b *channel.Batch) { expired = b.Expire(1000) })
		for _, m := range c.models {
			maps.DeleteFunc(m.producers, func(_ modelID, pr *modelProducer) bool {
				return c.now.Sub(pr.used) >= channel.ProducerTTL
			})
		}
		c.sync()
		next := channel.NextDue(c.single.view)
		due := len(channel.Due(c.single.view, c.now, 1)) > 0 || channel.ExpiryDue(c.single.view, c.now)
		if due != (next > 0 && next <= uint64(c.now.UnixMilli())) {
			c.fail("something is due: %v; the next is due at %d", due, next)
		}
		if expired == 0 && len(steps) == 0 {
			c.kept()
			return
		}
	}
	c.fail("upkeep does not end")
}

// kept checks every channel against its policy, by which it may be late by a share.
func (c *campaign) kept() {
	for _, m := range c.models {
		bytes := uint64(0)
		for i, x := range m.messages {
			bytes += x.size
			if m.policy.Age > 0 && c.now.Sub(x.time) >= m.policy.Age+m.policy.Age/channel.LateShare && !(m.policy.Keyed && m.newest(i)) {
				c.fail("%s keeps %v of %v, now %v", m.channel, x.at, x.time, c.now)
			}
		}
		if n := uint64(len(m.messages)); m.policy.Count > 0 && n > m.policy.Count+m.policy.Count/channel.LateShare {
			c.fail("%s keeps %d messages; its policy says %d", m.channel, n, m.policy.Count)
		}
		if m.policy.Bytes > 0 && bytes > m.policy.Bytes+m.policy.Bytes/channel.LateShare {
			c.fail("%s keeps %d bytes; its policy says %d", m.channel, bytes, m.policy.Bytes)
		}
	}
}
