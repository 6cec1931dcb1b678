package channel

import (
	"iter"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// An Info is what an operator may want to know of a channel.
type Info struct {
	Channel relay.Channel
	At      relay.Position // the last message, or before the first of the epoch to come
	First   relay.Position // the oldest message kept; At.Next if there is none
	Count   uint64         // messages kept
	Bytes   uint64         // of their bodies
	Used    time.Time      // the last publish
}

// Inspect returns a channel's Info; false: it does not exist.
func Inspect(r Reader, ch relay.Channel) (Info, bool) {
	var h head
	if !loadHead(r, nil, ch, &h) {
		return Info{}, false
	}
	s := loadShard(r)
	return h.info(&s, ch), true
}

// List yields the channels that begin with prefix and come after one, in order of their names.
func List(r Reader, prefix string, after relay.Channel) iter.Seq[Info] {
	return func(yield func(Info) bool) {
		s := loadShard(r)
		from, to := appendName(nil, kindHead, prefix), appendName(nil, kindHead, prefix)
		if string(after) >= prefix {
			from = append(appendName(nil, kindHead, after), 0) // names have no 0
		}
		to = append(to, 0xff) // nor 0xff: they are UTF-8
		if string(from) >= string(to) {
			return
		}
		var h head
		for key, value := range r.Ascend(from, to) {
			ch := relay.Channel(key[1:])
			h.decode(ch, value)
			if !yield(h.info(&s, ch)) {
				return
			}
		}
	}
}

func (h *head) info(s *shard, ch relay.Channel) Info {
	i := Info{
		Channel: ch, At: s.head(h, true), First: h.first, Count: h.count, Bytes: h.bytes,
		Used: time.UnixMilli(int64(h.used)),
	}
	if i.At.Epoch != h.at.Epoch && h.count == 0 {
		i.First = i.At.Next()
	}
	return i
}
