package channel

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// mostBack is how many messages the last-N start counts back, one by one, where they do not
// stand without holes. The start is nearer then.
const mostBack = 16 << 10

// firstPlace is before the oldest message retained.
func firstPlace(h *head, at relay.Position) relay.Position {
	if h.count == 0 {
		return at
	}
	return before(h.first)
}

// lastPlace is before the last n messages.
func lastPlace(r Reader, h *head, ch relay.Channel, at relay.Position, n uint64) relay.Position {
	if n == 0 || h.count == 0 {
		return at
	}
	if n >= h.count {
		return before(h.first)
	}
	if h.first.Epoch == h.at.Epoch && h.count == uint64(h.at.Seq-h.first.Seq)+1 {
		return relay.Position{Epoch: h.at.Epoch, Seq: h.at.Seq - relay.Seq(n)} // no holes
	}
	n = min(n, mostBack)
	from := appendPlace(nil, kindMessage, ch, h.first)
	for k := range r.Descend(from, appendPlacesEnd(nil, kindMessage, ch)) {
		if n--; n == 0 {
			return before(keyPosition(k))
		}
	}
	return before(h.first)
}

// sincePlace is before the oldest message that is not older than t. Time never decreases along
// a channel, so it is found by halving.
func sincePlace(r Reader, h *head, ch relay.Channel, at relay.Position, t time.Time) relay.Position {
	if h.count == 0 {
		return at
	}
	cutoff := uint64(max(t.UnixMilli(), 0))
	epochs := append(h.closed[:len(h.closed):len(h.closed)], closedEpoch{h.at.Epoch, h.at.Seq})
	place := at
	for i := len(epochs) - 1; i >= 0 && epochs[i].epoch >= h.first.Epoch; i-- {
		e := epochs[i]
		low, high := relay.Seq(1), e.last+1 // the answer's seq is in [low, high]
		if e.epoch == h.first.Epoch {
			low = h.first.Seq
		}
		start := low
		for low < high {
			mid := low + (high-low)/2
			p, ms, ok := messageFrom(r, ch, relay.Position{Epoch: e.epoch, Seq: mid})
			switch {
			case !ok || p.Epoch != e.epoch || ms >= cutoff:
				high = mid
			default:
				low = p.Seq + 1
			}
		}
		if low <= e.last {
			place = relay.Position{Epoch: e.epoch, Seq: low - 1}
		}
		if low > start {
			break // older messages of this epoch are too old, and so are older epochs
		}
	}
	return place
}

// messageFrom returns place and time of the first message at or after p.
func messageFrom(r Reader, ch relay.Channel, p relay.Position) (relay.Position, uint64, bool) {
	from := appendPlace(make([]byte, 0, 256), kindMessage, ch, p)
	for k, v := range r.Ascend(from, appendPlacesEnd(nil, kindMessage, ch)) {
		return keyPosition(k), wire.TimeMS(v[1:]), true
	}
	return relay.Position{}, 0, false
}
