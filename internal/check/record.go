package check

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/meridian-relay/meridian/relay"
)

// A record is a line as it is written.
type record struct {
	Kind     string `json:"kind"`
	V        int    `json:"v,omitempty"`
	Name     string `json:"name,omitempty"`
	Clock    string `json:"clock,omitempty"`
	T        int64  `json:"t,omitempty"`
	Op       uint64 `json:"op,omitempty"`
	Sub      uint64 `json:"sub,omitempty"`
	Channel  string `json:"channel,omitempty"`
	Replica  string `json:"replica,omitempty"`
	Producer string `json:"producer,omitempty"`
	N        uint64 `json:"n,omitempty"`
	Void     bool   `json:"void,omitempty"`
	From     string `json:"from,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Limit    uint64 `json:"limit,omitempty"`
	Barrier  bool   `json:"barrier,omitempty"`
	At       string `json:"at,omitempty"`
	After    string `json:"after,omitempty"`
	Head     string `json:"head,omitempty"`
	Next     string `json:"next,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Code     string `json:"code,omitempty"`
	Reason   string `json:"reason,omitempty"`
	State    string `json:"state,omitempty"`
}

var (
	starts = []string{"live", "after", "last", "since", "first"}
	modes  = []string{"reliable", "latest"}
)

// record returns a line as it is written.
func (l *Log) record(x *line) record {
	r := record{Kind: kinds[x.kind], T: x.t}
	switch x.kind {
	case kindPublish:
		r.Op, r.Channel, r.Producer = x.id, l.names[x.channel], l.names[x.who]
		r.N, r.Void = x.n, x.void
		if !x.void {
			r.Digest = fmt.Sprintf("%016x", x.digest)
		}
	case kindAnswer:
		r.Op, r.Code = x.id, x.code.String()
		if x.code == relay.Done {
			r.At = x.at.String()
		}
	case kindSubscribe:
		r.Sub, r.Channel, r.From, r.Mode = x.id, l.names[x.channel], starts[x.from], modes[x.mode]
		r.Limit, r.Barrier = x.n, x.barrier
		if x.from == relay.StartAfter {
			r.After = x.at.String()
		}
	case kindReplica:
		r.Sub, r.Channel, r.Replica = x.id, l.names[x.channel], l.names[x.who]
	case kindOK:
		r.Sub, r.At, r.Head = x.id, x.at.String(), x.next.String()
	case kindMessage:
		r.Sub, r.At, r.Digest = x.id, x.at.String(), fmt.Sprintf("%016x", x.digest)
	case kindGap:
		r.Sub, r.After, r.Next, r.Reason = x.id, x.at.String(), x.next.String(), x.reason.String()
	case kindStatus:
		r.Sub, r.State = x.id, x.state.String()
	case kindEnd:
		r.Sub, r.Code = x.id, x.code.String()
	case kindDrained:
		r.Sub = x.id
	}
	return r
}

// header returns a log's first line.
func (l *Log) header() record {
	return record{Kind: kinds[kindLog], V: version, Name: l.Name, Clock: l.clock}
}

// parseHeader parses a log's first line.
func parseHeader(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("not JSON: %w", err)
	}
	if r.Kind != kinds[kindLog] {
		return r, fmt.Errorf("kind %q: a log begins with a line of kind %q", r.Kind, kinds[kindLog])
	}
	if r.V != version {
		return r, fmt.Errorf("version %d of the format; this program reads %d", r.V, version)
	}
	return r, nil
}

// parse parses a line other than the first.
func (l *Log) parse(b []byte) (line, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return line{}, fmt.Errorf("not JSON: %w", err)
	}
	k := slices.Index(kinds[:], r.Kind)
	if k <= int(kindLog) {
		return line{}, fmt.Errorf("kind %q is not known", r.Kind)
	}
	x := line{kind: kind(k), t: r.T, void: r.Void, barrier: r.Barrier, n: r.N}
	var p parser
	switch x.kind {
	case kindPublish, kindAnswer:
		x.id = p.id("op", r.Op)
	default:
		x.id = p.id("sub", r.Sub)
	}
	switch x.kind {
	case kindPublish:
		x.channel, x.who = l.channel(&p, r.Channel), l.intern(r.Producer)
		if (r.Producer == "") != (r.N == 0) {
			p.fail("a number needs a producer and a producer a number")
		}
		if !r.Void {
			x.digest = p.digest(r.Digest)
		}
	case kindAnswer:
		x.code = p.code(r.Code)
		if x.code == relay.Done {
			x.at = p.position("at", r.At)
		}
	case kindSubscribe:
		x.channel, x.n = l.channel(&p, r.Channel), r.Limit
		x.from = relay.StartKind(p.choice("from", r.From, starts))
		x.mode = relay.Mode(p.choice("mode", cmp.Or(r.Mode, modes[0]), modes))
		if r.After != "" {
			x.at = p.position("after", r.After)
		}
	case kindReplica:
		x.channel, x.who = l.channel(&p, r.Channel), l.intern(r.Replica)
		x.from = relay.StartFirst
		if r.Replica == "" {
			p.fail("replica is missing")
		}
	case kindOK:
		x.at, x.next = p.position("at", r.At), p.position("head", r.Head)
	case kindMessage:
		x.at, x.digest = p.position("at", r.At), p.digest(r.Digest)
	case kindGap:
		x.at, x.next = p.position("after", r.After), p.position("next", r.Next)
		x.reason = relay.GapReason(p.choice("reason", r.Reason, reasons) + 1)
	case kindStatus:
		x.state = relay.State(p.choice("state", r.State, states) + 1)
	case kindEnd:
		x.code = p.code(r.Code)
	}
	return x, p.err
}

var (
	reasons = []string{relay.GapTrimmed.String(), relay.GapCompacted.String(), relay.GapEpoch.String()}
	states  = []string{relay.Lost.String(), relay.Restored.String()}
)

// A parser keeps the first error.
type parser struct{ err error }

func (p *parser) fail(format string, args ...any) {
	p.err = cmp.Or(p.err, fmt.Errorf(format, args...))
}

func (p *parser) id(field string, v uint64) uint64 {
	if v == 0 {
		p.fail("%s is missing", field)
	}
	return v
}

func (l *Log) channel(p *parser, s string) uint32 {
	if i, ok := l.index[s]; ok && i > 0 {
		return i
	}
	if _, err := relay.ParseChannel(s); err != nil {
		p.fail("%w", err)
		return 0
	}
	return l.intern(s)
}

func (p *parser) position(field, s string) relay.Position {
	at, err := relay.ParsePosition(s)
	if err != nil {
		p.fail("%s: %w", field, err)
	}
	return at
}

func (p *parser) digest(s string) uint64 {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		p.fail("digest %q: write 16 hexadecimal digits", s)
	}
	return v
}

func (p *parser) choice(field, s string, of []string) int {
	i := slices.Index(of, s)
	if i < 0 {
		p.fail("%s %q: write one of %v", field, s, of)
		return 0
	}
	return i
}

// errCode is wrapped by the error of a code that is not known.
var errCode = errors.New("no such code")

func (p *parser) code(s string) relay.Code {
	for _, c := range relay.Codes() {
		if c.String() == s {
			return c
		}
	}
	// A newer relay's: "code 99".
	var n uint16
	if _, err := fmt.Sscanf(s, "code %d", &n); err != nil || n == 0 {
		p.fail("code %q: %w", s, errCode)
	}
	return relay.Code(n)
}
