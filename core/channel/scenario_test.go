package channel_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

var update = flag.Bool("update", false, "write what the scenarios answer into their files")

// TestScenarios runs the files of testdata/scenarios. A file is blocks of
//
//	command
//	----
//	what it answers
//
// with an empty line between, and # before comments. README.txt lists the commands.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newScenario().run(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(text) {
				t.Errorf("%s answers otherwise (-update writes this):\n%s", file, diff(string(text), got))
			}
		})
	}
}

// diff shows the first lines that differ.
func diff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n  file: %s\n  now:  %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines in the file, %d now", len(a), len(b))
}

// A scenario is a machine and its clock, which begins at 1,000,000 s.
type scenario struct {
	view    *memview.View
	batch   *channel.Batch
	now     time.Time
	cursors map[string]*channel.Cursor
}

func newScenario() *scenario {
	return &scenario{
		view: memview.New(), batch: channel.NewBatch(), now: time.Unix(1_000_000, 0),
		cursors: make(map[string]*channel.Cursor),
	}
}

func (s *scenario) run(t *testing.T, text string) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		i++
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var answer strings.Builder
		s.do(t, line, &answer)
		if i < len(lines) && lines[i] == "----" {
			for i++; i < len(lines) && lines[i] != ""; i++ {
			}
		}
		if answer.Len() > 0 {
			out.WriteString("----\n" + answer.String())
			if i < len(lines) && lines[i] != "" {
				out.WriteString("\n")
			}
		}
	}
	return out.String()
}

// args are the words of a command: plain ones, and name=value.
type args struct {
	t     *testing.T
	plain []string
	named map[string]string
}

func parse(t *testing.T, line string) args {
	a := args{t: t, named: make(map[string]string)}
	for _, w := range strings.Fields(line) {
		if name, value, ok := strings.Cut(w, "="); ok {
			a.named[name] = value
		} else {
			a.plain = append(a.plain, w)
		}
	}
	return a
}

func (a args) uint(name string) uint64 {
	if a.named[name] == "" {
		return 0
	}
	v, err := strconv.ParseUint(a.named[name], 10, 64)
	if err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	return v
}

func (a args) duration(name string) time.Duration {
	if a.named[name] == "" {
		return 0
	}
	v, err := time.ParseDuration(a.named[name])
	if err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	return v
}

func (a args) position(name string) relay.Position {
	p, err := relay.ParsePosition(a.named[name])
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

func (s *scenario) do(t *testing.T, line string, out *strings.Builder) {
	a := parse(t, line)
	if a.plain[0] == "read" {
		s.read(a, out)
		return
	}
	if a.plain[0] == "subscribe" {
		s.subscribe(a, out)
		return
	}
	if a.plain[0] == "time" {
		d, err := time.ParseDuration(a.plain[1])
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(d)
		return
	}
	s.batch.Begin(s.view, s.now)
	defer s.batch.Commit()
	switch a.plain[0] {
	case "policy":
		s.policy(a, out)
	case "own":
		s.batch.Own(relay.Namespace(a.plain[1]), 0, relay.Slots-1)
	case "disown":
		slot := relay.Channel(a.plain[1]).Slot()
		s.batch.Disown(relay.Channel(a.plain[1]).Namespace(), slot, slot, a.named["shard"])
	case "limits":
		s.batch.SetLimits(channel.Limits{Subject: a.uint("subject"), Channel: a.uint("channel"), Shard: a.uint("shard")})
	case "raise":
		s.batch.Raise(relay.Epoch(a.uint("floor")), len(a.plain) > 1 && a.plain[1] == "broken")
	case "publish":
		s.publish(a, out)
	case "upkeep":
		s.upkeep(out)
	default:
		t.Fatalf("no command %q", a.plain[0])
	}
}

func (s *scenario) policy(a args, out *strings.Builder) {
	p := channel.Policy{
		Age: a.duration("age"), Count: a.uint("count"), Bytes: a.uint("bytes"),
		Keyed: a.named["keyed"] == "yes", Payload: int(a.uint("payload")), ForgetAfter: a.duration("forget"),
	}
	if err := s.batch.SetPolicy(relay.Namespace(a.plain[1]), p); err != nil {
		fmt.Fprintln(out, err)
		return
	}
	s.batch.Own(relay.Namespace(a.plain[1]), 0, relay.Slots-1)
}

func (s *scenario) publish(a args, out *strings.Builder) {
	p := relay.Publication{Channel: relay.Channel(a.plain[1]), Subject: "alice", N: a.uint("n"), Age: a.duration("age")}
	if a.named["subject"] != "" {
		p.Subject = relay.Subject(a.named["subject"])
	}
	if name := a.named["producer"]; name != "" {
		copy(p.Producer[:], name)
	}
	if a.named["void"] == "yes" {
		p.Void = true
		answer(out, s.batch, p)
		return
	}
	for _, payload := range a.plain[2:] {
		p.Body = relaytest.Body(payload, a.named["key"])
		answer(out, s.batch, p)
		if p.N > 0 {
			p.N++
		}
	}
}

func answer(out *strings.Builder, b *channel.Batch, p relay.Publication) {
	at, end := b.Publish(p)
	if end.Code == relay.Done {
		fmt.Fprintln(out, at)
		return
	}
	describeEnd(out, end)
}

func describeEnd(out *strings.Builder, end relay.End) {
	fmt.Fprintf(out, "%v", end.Code)
	if end.RetryAfter > 0 {
		fmt.Fprintf(out, " after %v", end.RetryAfter)
	}
	if end.Hint.Shard != "" {
		fmt.Fprintf(out, " to %s", end.Hint.Shard)
	}
	if end.Detail != "" {
		fmt.Fprintf(out, ": %s", end.Detail)
	}
	fmt.Fprintln(out)
}

// upkeep does what is due, until nothing is.
func (s *scenario) upkeep(out *strings.Builder) {
	for range 100 {
		s.batch.Commit()
		steps := channel.Due(s.view, s.now, 1024)
		s.batch.Begin(s.view, s.now)
		looked := s.batch.Expire(100)
		if looked == 0 && len(steps) == 0 {
			return
		}
		if looked > 0 {
			left := 0
			for range s.view.Ascend([]byte{0x14}, []byte{0x15}) {
				left++
			}
			fmt.Fprintf(out, "expire: looked at %d producers, %d remain\n", looked, left)
		}
		for _, st := range steps {
			s.batch.Apply(st)
			fmt.Fprintf(out, "%v", st.Op)
			if st.Channel != "" {
				fmt.Fprintf(out, " %s", st.Channel)
			}
			if st.Namespace != "" {
				fmt.Fprintf(out, " %s", st.Namespace)
			}
			if !st.Through.IsZero() {
				fmt.Fprintf(out, " through %v", st.Through)
			}
			fmt.Fprintln(out)
		}
	}
	fmt.Fprintln(out, "upkeep does not end")
}

func (s *scenario) subscribe(a args, out *strings.Builder) {
	r := relay.SubscribeRequest{Channel: relay.Channel(a.plain[2]), Limit: a.uint("limit")}
	if a.named["mode"] == "latest" {
		r.Mode = relay.Latest
	}
	for name, value := range a.named {
		switch name {
		case "after":
			r.From = relay.Start{Kind: relay.StartAfter, After: a.position("after")}
		case "last":
			r.From = relay.Start{Kind: relay.StartLast, Count: a.uint("last")}
		case "since":
			r.From = relay.Start{Kind: relay.StartSince, Since: a.duration("since")}
		case "from":
			if value == "first" {
				r.From = relay.Start{Kind: relay.StartFirst}
			}
		}
	}
	c, f := channel.Open(s.view, &r, s.now)
	s.cursors[a.plain[1]] = &c
	frames(a.t, out, []relay.Frame{f})
}

func (s *scenario) read(a args, out *strings.Builder) {
	most := 1 << 20
	if n := a.uint("bytes"); n > 0 {
		most = int(n)
	}
	c := s.cursors[a.plain[1]]
	list, more := c.Read(s.view, nil, most)
	frames(a.t, out, list)
	switch {
	case more:
		fmt.Fprintln(out, "and more")
	case len(list) == 0:
		fmt.Fprintln(out, "nothing")
	}
}

func frames(t *testing.T, out *strings.Builder, list []relay.Frame) {
	for _, f := range list {
		switch f.Kind {
		case relay.KindMessage:
			m := relaytest.Decode(t, f.Body)
			fmt.Fprintf(out, "%v %s", f.At, m.Payload)
			if m.Key != "" {
				fmt.Fprintf(out, " key=%s", m.Key)
			}
			fmt.Fprintf(out, " (%s, %d s)\n", m.Publisher, m.TimeMs/1000)
		case relay.KindEnd:
			fmt.Fprintf(out, "end ")
			describeEnd(out, *f.End)
		default:
			fmt.Fprintln(out, relaytest.Describe(f))
		}
	}
}
