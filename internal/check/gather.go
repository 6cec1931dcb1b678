package check

import (
	"github.com/meridian-relay/meridian/relay"
)

// readPublishes finds the messages, and which attempts belong to them.
func (j *judge) readPublishes() {
	j.each(func(log int, x *line, at ref) {
		if x.kind != kindPublish {
			return
		}
		c := j.channel(log, x.channel)
		c.own = true
		j.counts.Attempts++
		var num *numbered
		if x.who != 0 {
			key := number{j.logs[log].names[x.who], x.n}
			if num = c.numbers[key]; num == nil {
				num = &numbered{number: key, begun: at}
				c.numbers[key] = num
				c.producer = append(c.producer, num)
			}
		}
		o := op{channel: c, begun: at, void: x.void}
		if !x.void {
			o.message = j.attempt(c, x, at, num)
		}
		j.ops[log][x.id] = o
	})
}

// attempt notes an attempt to publish a message.
func (j *judge) attempt(c *channel, x *line, at ref, num *numbered) *message {
	m := c.messages[x.digest]
	if m == nil {
		m = &message{digest: x.digest, number: num, begun: at, copies: 1, clock: j.clockOf(at), start: x.t}
		c.messages[x.digest] = m
		c.listed = append(c.listed, m)
		j.counts.Publishes++
	} else {
		if num == nil || m.number != num {
			m.number = nil
			m.copies++
		}
		if m.clock != j.clockOf(at) {
			m.clock = -1
		}
		m.start = min(m.start, x.t)
	}
	m.attempts++
	m.open++
	j.counts.MostRepeated = max(j.counts.MostRepeated, m.attempts)
	return m
}

// definite reports whether an attempt that was answered so has had no effect.
func definite(code relay.Code) bool {
	switch code {
	case relay.OutOfOrder, relay.Busy, relay.PublishRate, relay.ByteRate, relay.RequestRate,
		relay.ReadOnly, relay.Moved, relay.Unauthorized, relay.TokenExpired:
		return true
	case relay.TooOld, relay.Cancelled, relay.Protocol, relay.Unsupported, relay.Revoked:
		return false
	}
	return code.Retry() == relay.Final
}

// readAnswers finds what was acknowledged.
func (j *judge) readAnswers() {
	j.each(func(log int, x *line, at ref) {
		if x.kind != kindAnswer {
			return
		}
		o, ok := j.ops[log][x.id]
		if !ok || o.ended {
			return // Read sees to that
		}
		o.ended = true
		j.ops[log][x.id] = o
		begun := j.line(o.begun)
		var num *numbered
		if begun.who != 0 {
			num = o.channel.numbers[number{j.logs[log].names[begun.who], begun.n}]
		}
		switch {
		case x.code == relay.Done:
			j.acknowledged(o, num, x, at)
		case x.code == relay.Voided && num != nil:
			num.voided = at
		}
		if o.message != nil && (x.code == relay.Done || definite(x.code)) {
			o.message.open--
			if x.code != relay.Done {
				o.message.refused = at
			}
		}
	})
}

// acknowledged notes that an attempt was answered with a position.
func (j *judge) acknowledged(o op, num *numbered, x *line, at ref) {
	c, m := o.channel, o.message
	if num != nil {
		j.stands(c, num, x.at, at)
	}
	if m == nil {
		return // a void, whose number has a message
	}
	if m.ack == (ref{}) {
		m.ack = at
		j.counts.Acknowledged++
	}
	s := c.slots[x.at]
	if s == nil {
		s = &slot{digest: m.digest, ack: at, since: x.t, clock: j.clockOf(at)}
		c.slots[x.at] = s
		j.place(c, m, x.at, at)
		return
	}
	if s.digest != m.digest {
		j.violation(P1, c, []ref{j.message(c, s.digest).begun, s.shown(), o.begun, at},
			"two publishes were acknowledged with the position %v", x.at)
	}
}

// stands notes where a number's message stands.
func (j *judge) stands(c *channel, num *numbered, p relay.Position, shown ref) {
	if num.at.IsZero() {
		num.at, num.shown = p, shown
	} else if num.at != p {
		j.violation(P5, c, []ref{num.begun, num.shown, shown},
			"number %d of a producer stands at %v and at %v", num.n, num.at, p)
	}
}

// message returns the message with a digest; one that nobody published is empty.
func (j *judge) message(c *channel, digest uint64) *message {
	if m := c.messages[digest]; m != nil {
		return m
	}
	return &message{}
}

// readDeliveries finds what subscribers and replicas have.
func (j *judge) readDeliveries() {
	j.each(func(log int, x *line, at ref) {
		switch x.kind {
		case kindSubscribe, kindReplica:
			c := j.channel(log, x.channel)
			r := &reader{channel: c, log: log, asked: at, replica: x.kind == kindReplica}
			j.subs[log][x.id] = r
			j.readers = append(j.readers, r)
			c.readers = append(c.readers, r)
			if r.replica {
				j.counts.Histories++
			} else {
				j.counts.Subscriptions++
			}
		case kindMessage:
			if r := j.subs[log][x.id]; r != nil {
				if !r.replica {
					j.counts.Messages++
				}
				j.delivered(r, x, at)
			}
		}
	})
}

// delivered notes that a message was delivered, or stands in a replica.
func (j *judge) delivered(r *reader, x *line, at ref) {
	c := r.channel
	m := c.messages[x.digest]
	if s := c.slots[x.at]; s != nil {
		if s.seen == (ref{}) {
			s.seen = at
		}
		if s.digest != x.digest {
			p, what := P3, "two messages were delivered with the position %v"
			if s.ack != (ref{}) {
				p, what = P1, "another message stands at %v than was acknowledged there"
			}
			j.violation(p, c, []ref{j.message(c, s.digest).begun, s.shown(), j.message(c, x.digest).begun, at}, what, x.at)
		}
		return
	}
	c.slots[x.at] = &slot{digest: x.digest, seen: at, since: x.t, clock: j.clockOf(at)}
	switch {
	case m != nil:
		j.place(c, m, x.at, at)
	case c.own && !j.cfg.Partial:
		j.violation(P3, c, []ref{r.asked, at}, "a message that nobody published stands at %v", x.at)
	}
}

// place notes a position of a message, the first time that it is seen there.
func (j *judge) place(c *channel, m *message, p relay.Position, shown ref) {
	m.places++
	if m.places == 1 {
		m.at, m.shown = p, shown
	} else if m.places == m.copies+1 {
		j.violation(P5, c, []ref{m.begun, m.shown, shown},
			"a message that was published %s stands at %v and at %v", times(m.copies), m.at, p)
	}
	if m.number != nil && m.number.at.IsZero() {
		m.number.at, m.number.shown = p, shown
	}
}
