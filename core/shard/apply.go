package shard

import (
	"time"

	"github.com/meridian-relay/meridian/core/channel"
)

// Answer answers those whose publishes a has. It is called after v's commit.
func (a *Apply) Answer() {
	for i := range a.Result.answers {
		w := &a.Result.answers[i]
		w.answer(w.at, w.end)
		*w = answered{}
	}
	a.Result.answers = nil
}

// Bounds of one Upkeep: what one entry of retention walks about, and how many producers it
// looks at.
const (
	upkeepMessages  = 4096
	upkeepProducers = 1024
)

// Upkeep returns the commands that retention and expiry ask for now, or at the log's time if that
// is later, of a bounded size. None: nothing is due.
func Upkeep(r channel.Reader, now time.Time) (list []Command) {
	if at := time.UnixMilli(int64(channel.Time(r))); at.After(now) {
		now = at
	}
	if steps := channel.Due(r, now, upkeepMessages); len(steps) > 0 {
		list = append(list, Command{Steps: steps})
	}
	if channel.ExpiryDue(r, now) {
		list = append(list, Command{Expire: upkeepProducers})
	}
	return list
}

// A proposal is an entry that was made here and is not applied yet.
type proposal struct {
	id      uint64
	answers []Answer    // of its publishes, in order
	done    func(error) // of its commands, or its change of membership; nil: of publishes
	err     error       // set by Machine.Run: a command was refused, such as a policy that cannot be
	size    uint64      // what it takes of the host's budget
	at      time.Time   // when it was made
}
