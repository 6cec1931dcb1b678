package check

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

func TestLegalHistoriesPass(t *testing.T) {
	for seed := range uint64(200) {
		v := Run(Config{}, newWorld(seed).run(400)...)
		if !v.OK() {
			t.Fatalf("seed %d: %s", seed, v.Violations[0].String())
		}
		if c := v.Counts; c.Acknowledged < 20 || c.Messages < 20 || c.Histories != 6 || c.Drains == 0 {
			t.Fatalf("seed %d: the history is too small to prove anything: %+v", seed, c)
		}
	}
}

// A corruption changes one thing in logs, so that a promise is broken; false: there was no place.
type corruption struct {
	name  string
	apply func(r *rand.Rand, logs []*Log) bool
}

// pick returns a random line that f accepts.
func pick(r *rand.Rand, logs []*Log, f func(l *Log, i int) bool) (*Log, int, bool) {
	type place struct {
		l *Log
		i int
	}
	var list []place
	for _, l := range logs {
		for i := range l.lines {
			if f(l, i) {
				list = append(list, place{l, i})
			}
		}
	}
	if len(list) == 0 {
		return nil, 0, false
	}
	p := list[r.IntN(len(list))]
	return p.l, p.i, true
}

// followed: the line is a message, and the next of its log one of the same subscription.
func followed(l *Log, i int) bool {
	return l.lines[i].kind == kindMessage && i+1 < len(l.lines) &&
		l.lines[i+1].kind == kindMessage && l.lines[i+1].id == l.lines[i].id
}

// acknowledged and kept: an answer, whose message a replica still has.
func ackedAndKept(logs []*Log) func(l *Log, i int) bool {
	kept := make(map[relay.Position]bool)
	for i := range logs[0].lines {
		if x := &logs[0].lines[i]; x.kind == kindMessage {
			kept[x.at] = true
		}
	}
	for i := range logs[0].lines { // both channels have to keep it
		if x := &logs[0].lines[i]; x.kind == kindOK {
			for p := range kept {
				if !x.at.Before(p) || x.next.Before(p) {
					delete(kept, p)
				}
			}
		}
	}
	return func(l *Log, i int) bool {
		return l.lines[i].kind == kindAnswer && l.lines[i].code == relay.Done && kept[l.lines[i].at]
	}
}

var corruptions = []corruption{
	{"a message is left out", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, followed)
		if ok {
			l.lines = slices.Delete(l.lines, i, i+1)
		}
		return ok
	}},
	{"a message comes twice", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, func(l *Log, i int) bool { return l.lines[i].kind == kindMessage })
		if ok {
			l.lines = slices.Insert(l.lines, i, l.lines[i])
		}
		return ok
	}},
	{"two messages change places", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, followed)
		if ok {
			l.lines[i], l.lines[i+1] = l.lines[i+1], l.lines[i]
		}
		return ok
	}},
	{"two messages change payloads", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, followed)
		if ok {
			l.lines[i].digest, l.lines[i+1].digest = l.lines[i+1].digest, l.lines[i].digest
		}
		return ok
	}},
	{"a payload is another", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, func(l *Log, i int) bool { return l.lines[i].kind == kindMessage })
		if ok {
			l.lines[i].digest ^= 1 << r.IntN(64)
		}
		return ok
	}},
	{"an acknowledgement names the next position", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, ackedAndKept(logs))
		if ok {
			l.lines[i].at.Seq++
		}
		return ok
	}},
	{"what was acknowledged was refused", func(r *rand.Rand, logs []*Log) bool {
		kept := ackedAndKept(logs)
		l, i, ok := pick(r, logs, func(l *Log, i int) bool {
			if !kept(l, i) {
				return false
			}
			// Its only attempt: the number has no other.
			n := 0
			var num uint64
			for k := range l.lines {
				if l.lines[k].kind == kindPublish && l.lines[k].id == l.lines[i].id {
					num = l.lines[k].n
				}
			}
			for k := range l.lines {
				if l.lines[k].kind == kindPublish && l.lines[k].n == num {
					n++
				}
			}
			return n == 1
		})
		if ok {
			l.lines[i].code, l.lines[i].at = relay.TooLarge, relay.Position{}
		}
		return ok
	}},
	{"a replica lost its last message", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs[:1], func(l *Log, i int) bool {
			return l.lines[i].kind == kindMessage && l.lines[i+1].kind == kindEnd
		})
		if ok {
			for k := i; ; k-- {
				if l.lines[k].kind == kindOK {
					l.lines[k].next.Seq--
					break
				}
			}
			l.lines = slices.Delete(l.lines, i, i+1)
		}
		return ok
	}},
	{"a subscription stops early", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, func(l *Log, i int) bool {
			return l.lines[i].kind == kindMessage && i+1 < len(l.lines) && l.lines[i+1].kind == kindDrained &&
				acked(logs, l, i)
		})
		if ok {
			l.lines = slices.Delete(l.lines, i, i+1)
		}
		return ok
	}},
	{"it stands further on than it says", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, func(l *Log, i int) bool {
			return l.lines[i].kind == kindOK && i+1 < len(l.lines) && l.lines[i+1].kind == kindMessage
		})
		if ok {
			l.lines[i].at.Seq++
		}
		return ok
	}},
	{"a barrier stands before what was acknowledged", func(r *rand.Rand, logs []*Log) bool {
		l, i, ok := pick(r, logs, func(l *Log, i int) bool {
			x := &l.lines[i]
			return i > 0 && x.kind == kindOK && l.lines[i-1].kind == kindSubscribe && l.lines[i-1].barrier && x.next.Seq > 0 &&
				l.lines[i-1].from == relay.StartLive && ackedBefore(logs, l, i-1, x.next)
		})
		if ok {
			l.lines[i].at.Seq--
		}
		return ok
	}},
}

// acked reports whether the message of a line was acknowledged.
func acked(logs []*Log, l *Log, i int) bool {
	return ackedBefore(logs, l, len(l.lines)-1, l.lines[i].at)
}

// ackedBefore reports whether a message of the channel that line i's subscription reads was
// acknowledged at p before line i.
func ackedBefore(logs []*Log, l *Log, i int, p relay.Position) bool {
	ch := ""
	for k := range l.lines {
		if x := &l.lines[k]; x.id == l.lines[i].id && x.kind == kindSubscribe {
			ch = l.names[x.channel]
		}
	}
	for _, o := range logs {
		ops := make(map[uint64]string)
		for k := range o.lines {
			switch x := &o.lines[k]; x.kind {
			case kindPublish:
				ops[x.id] = o.names[x.channel]
			case kindAnswer:
				if x.code == relay.Done && x.at == p && ops[x.id] == ch && x.t < l.lines[i].t {
					return true
				}
			}
		}
	}
	return false
}

func TestCorruptionsAreFound(t *testing.T) {
	for _, c := range corruptions {
		t.Run(c.name, func(t *testing.T) {
			done := 0
			for seed := range uint64(60) {
				logs := newWorld(seed).run(400)
				if !c.apply(rand.New(rand.NewPCG(seed, 2)), logs) {
					continue
				}
				done++
				v := Run(Config{}, logs...)
				if v.OK() {
					t.Fatalf("seed %d: not found", seed)
				}
				if n := len(v.Violations[0].Lines); n == 0 || n > 5 {
					t.Errorf("seed %d: an excerpt of %d lines: %s", seed, n, v.Violations[0].String())
				}
			}
			if done < 10 {
				t.Errorf("only %d histories had a place for it", done)
			}
		})
	}
}

func TestWrittenLogsReadTheSame(t *testing.T) {
	for i, l := range newWorld(1).run(400) {
		var b bytes.Buffer
		if _, err := l.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		got, err := Read(l.Name, &b)
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if _, err := got.WriteTo(&again); err != nil || again.String() != text {
			t.Fatalf("log %d, error %v: read and written again:\n%s\nwas:\n%s", i, err, again.String(), text)
		}
		// A process that was killed: the last line is cut off.
		cut := text[:len(text)-3]
		if got, err = Read(l.Name, strings.NewReader(cut)); err != nil || got.Len() != l.Len()-1 {
			t.Errorf("log %d, cut off: error %v", i, err)
		}
	}
}

func TestClocksOfDifferentLogs(t *testing.T) {
	run := func(skew time.Duration, clock string, t0 int64) *Verdict {
		now := t0
		pub := NewRecorder(RecorderConfig{Clock: Clock{"a", func() int64 { return 100 }}})
		op := pub.Publish(Publish{Channel: "d:x", Producer: "p", N: 1, Payload: []byte("x")})
		pub.Answer(op, relay.Position{Epoch: 1, Seq: 1}, relay.Done)
		sub := NewRecorder(RecorderConfig{Clock: Clock{clock, func() int64 { now++; return now }}})
		s := sub.Subscribe(relay.SubscribeRequest{Channel: "d:x", Barrier: true})
		s.Frame(relay.Frame{Kind: relay.KindOK, At: relay.Position{Epoch: 1}}, nil)
		return Run(Config{Skew: skew}, pub.Log(), sub.Log())
	}
	if run(50, "a", 100).OK() {
		t.Error("one clock: a barrier that is behind was not found")
	}
	if !run(50, "b", 100).OK() {
		t.Error("two clocks: what lies within the skew was judged")
	}
	if run(50, "b", 200).OK() {
		t.Error("two clocks: a barrier that is behind by more than the skew was not found")
	}
}
