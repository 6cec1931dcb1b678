package channel

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A Cursor is a subscription's place in a channel. It holds no part of a view.
type Cursor struct {
	channel relay.Channel
	mode    relay.Mode
	after   relay.Position // everything up to here was read or given up
	until   relay.Position // with a limit: read nothing beyond
	left    uint64         // with a limit: messages to go
	limited bool
	ended   bool
	absent  bool
}

// Open resolves where a subscription begins. The frame is its OK, or the End that refuses it.
func Open(r Reader, q *relay.SubscribeRequest, now time.Time) (Cursor, relay.Frame) {
	c := Cursor{channel: q.Channel, mode: q.Mode, left: q.Limit, limited: q.Limit > 0}
	refuse := func(end relay.End) (Cursor, relay.Frame) {
		c.ended = true
		return c, relay.Frame{Kind: relay.KindEnd, End: &end}
	}
	if _, err := relay.ParseChannel(string(q.Channel)); err != nil {
		return refuse(relay.End{Code: relay.BadChannel, Detail: err.Error()})
	}
	if q.Mode > relay.Latest || q.From.Kind > relay.StartFirst {
		return refuse(relay.End{Code: relay.BadRequest, Detail: "unknown mode or start of a subscription"})
	}
	if _, end := loadPolicy(r, nil, q.Channel.Namespace()); end.Code != relay.Done {
		return refuse(end)
	}
	if end := owned(r, nil, q.Channel); end.Code != relay.Done {
		return refuse(end)
	}
	sh := loadShard(r)
	var h head
	c.absent = !loadHead(r, nil, q.Channel, &h)
	at := sh.head(&h, !c.absent)
	switch q.From.Kind {
	case relay.StartLive:
		c.after = at
	case relay.StartAfter:
		c.after = q.From.After
	case relay.StartLast:
		c.after = lastPlace(r, &h, q.Channel, at, q.From.Count)
	case relay.StartSince:
		c.after = sincePlace(r, &h, q.Channel, at, now.Add(-q.From.Since))
	case relay.StartFirst:
		c.after = firstPlace(&h, at)
	}
	if c.limited {
		c.until = at
	}
	return c, relay.Frame{Kind: relay.KindOK, At: c.after, Next: at}
}

// Absent reports whether the channel did not exist when the cursor last looked.
func (c *Cursor) Absent() bool { return c.absent && !c.ended }

// Born tells a cursor that is Absent that its channel began in the epoch given, with nothing
// forgotten in between. Without that it has to assume that messages came and went, and a Gap
// tells so wherever the floor rose meanwhile.
func (c *Cursor) Born(epoch relay.Epoch) {
	c.after, c.absent = relay.Position{Epoch: epoch}, false
}

// At returns the place up to which the cursor has read.
func (c *Cursor) At() relay.Position { return c.after }

// Read appends what follows, up to about maxBytes of bodies: at least that much, or all there
// is, which more tells apart: false means that the reader has to wait. Bodies are parts of the
// view's values. An End is the last frame.
func (c *Cursor) Read(r Reader, dst []relay.Frame, maxBytes int) (frames []relay.Frame, more bool) {
	if c.ended {
		return dst, false
	}
	sh := loadShard(r)
	var h head
	c.absent = !loadHead(r, nil, c.channel, &h)
	w := window{r: r, h: &h, at: sh.head(&h, !c.absent), room: max(maxBytes, 1)}
	if c.mode == relay.Latest {
		dst = c.readLatest(&w, dst)
	} else {
		dst = c.readAll(&w, dst)
	}
	if c.limited && (c.left == 0 || !c.after.Before(c.until)) {
		c.ended = true
		return append(dst, relay.Frame{Kind: relay.KindEnd, At: c.after, End: &relay.End{}}), false
	}
	return dst, w.room <= 0
}

// Ended reports whether the last frame was an End.
func (c *Cursor) Ended() bool { return c.ended }

// A window is what one Read sees of a channel.
type window struct {
	r    Reader
	h    *head
	at   relay.Position // the head
	room int            // bytes of bodies to go
	past bool           // mode latest: the rest came after the head that OK named
}

// before returns the place before p.
func before(p relay.Position) relay.Position {
	p.Seq--
	return p
}

// readAll reads in mode reliable.
func (c *Cursor) readAll(w *window, dst []relay.Frame) []relay.Frame {
	if w.at.Before(c.after) {
		// The position was never given out here, or what it named was lost.
		next := relay.Position{Epoch: w.at.Epoch, Seq: 1}
		if w.h.first.Epoch == w.at.Epoch {
			next = w.h.first
		}
		dst = c.skip(dst, next, relay.GapEpoch)
	}
	if c.after.Before(w.h.at) {
		from := appendPlace(make([]byte, 0, 256), kindMessage, c.channel, c.after.Next())
		to := appendPlacesEnd(make([]byte, 0, 256), kindMessage, c.channel)
		for k, v := range w.r.Ascend(from, to) {
			p := keyPosition(k)
			if c.limited && !c.after.Before(c.until) {
				return dst
			}
			dst = c.reach(w, dst, p)
			if c.limited && c.until.Before(p) {
				return dst
			}
			if dst = c.take(w, dst, p, v); w.room <= 0 || c.limited && c.left == 0 {
				return dst
			}
		}
	}
	if c.after.Before(w.at) {
		dst = c.reach(w, dst, w.at.Next())
		c.after = w.at
	}
	return dst
}

// take appends the message at p.
func (c *Cursor) take(w *window, dst []relay.Frame, p relay.Position, value []byte) []relay.Frame {
	c.after = p
	c.left--
	w.room -= len(value) - 1
	return append(dst, relay.Frame{Kind: relay.KindMessage, At: p, Body: value[1:]})
}

// reach appends a Gap unless p follows what was read.
func (c *Cursor) reach(w *window, dst []relay.Frame, p relay.Position) []relay.Frame {
	switch {
	case p == c.after.Next():
		return dst
	case c.after.IsZero() && p.Seq == 1 && w.h.cut.IsZero():
		return dst // the channel's first
	case c.after.IsZero():
		return c.skip(dst, p, relay.GapTrimmed)
	case p.Epoch != c.after.Epoch:
		return c.skip(dst, p, relay.GapEpoch)
	case c.after.Before(w.h.cut):
		return c.skip(dst, p, relay.GapTrimmed)
	}
	return c.skip(dst, p, relay.GapCompacted)
}

func (c *Cursor) skip(dst []relay.Frame, next relay.Position, why relay.GapReason) []relay.Frame {
	dst = append(dst, relay.Frame{Kind: relay.KindGap, At: c.after, Next: next, Reason: why})
	c.after = before(next)
	return dst
}

// readLatest reads the newest message of every key, in order. What it passes over makes no gap.
func (c *Cursor) readLatest(w *window, dst []relay.Frame) []relay.Frame {
	if w.at.Before(c.after) {
		c.after = relay.Position{Epoch: w.at.Epoch}
	}
	key := make([]byte, 0, 256)
	give := func(p relay.Position) bool { // false: enough
		if c.limited && c.until.Before(p) {
			w.past = true
			return false
		}
		if v, ok := w.r.Get(appendPlace(key[:0], kindMessage, c.channel, p)); ok {
			dst = c.take(w, dst, p, v)
		}
		return w.room > 0 && !(c.limited && c.left == 0)
	}
	if !c.eachNewest(w, give) && !w.past {
		return dst
	}
	c.after = w.at
	return dst
}

// eachNewest calls give with the place of the newest message of every key, in order, as long as
// it returns true. Messages without a key count as one more key.
func (c *Cursor) eachNewest(w *window, give func(relay.Position) bool) bool {
	if !c.after.Before(w.h.at) {
		return true
	}
	unkeyed := w.h.unkeyed
	waits := c.after.Before(unkeyed)
	from := appendPlace(make([]byte, 0, 256), kindNewest, c.channel, c.after.Next())
	to := appendPlacesEnd(make([]byte, 0, 256), kindNewest, c.channel)
	for k := range w.r.Ascend(from, to) {
		p := keyPosition(k)
		if waits && unkeyed.Before(p) {
			waits = false
			if !give(unkeyed) {
				return false
			}
		}
		if !give(p) {
			return false
		}
	}
	return !waits || give(unkeyed)
}
