package check

import (
	"github.com/meridian-relay/meridian/relay"
)

// version is the format's.
const version = 1

// A kind says what a line is.
type kind uint8

const (
	kindLog kind = iota + 1
	kindPublish
	kindAnswer
	kindSubscribe
	kindReplica
	kindOK
	kindMessage
	kindGap
	kindStatus
	kindEnd
	kindDrained
)

var kinds = [...]string{
	kindLog: "log", kindPublish: "publish", kindAnswer: "answer", kindSubscribe: "subscribe",
	kindReplica: "replica", kindOK: "ok", kindMessage: "message", kindGap: "gap",
	kindStatus: "status", kindEnd: "end", kindDrained: "drained",
}

// A line is one of a log, in little memory: names are numbers of the log's table.
type line struct {
	kind    kind
	from    relay.StartKind
	mode    relay.Mode
	reason  relay.GapReason
	state   relay.State
	void    bool
	barrier bool
	code    relay.Code
	channel uint32
	who     uint32 // producer or replica; 0: none
	t       int64
	id      uint64 // op or sub
	n       uint64 // of a producer; the limit of a subscription
	digest  uint64
	at      relay.Position // also a gap's after, and what a subscription asked to begin after
	next    relay.Position // a gap's next, an ok's head
}

// A Log is what one process recorded, in memory.
type Log struct {
	Name  string
	clock string
	lines []line
	names []string // 0: ""
	index map[string]uint32
}

func newLog(name, clock string) *Log {
	return &Log{Name: name, clock: clock, names: []string{""}, index: map[string]uint32{"": 0}}
}

// Len returns the number of lines.
func (l *Log) Len() int { return len(l.lines) + 1 }

// intern returns the number of a name in the log's table.
func (l *Log) intern(s string) uint32 {
	if i, ok := l.index[s]; ok {
		return i
	}
	i := uint32(len(l.names))
	l.names = append(l.names, s)
	l.index[s] = i
	return i
}
