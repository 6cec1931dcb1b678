package check

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

const head = `{"kind":"log","v":1,"name":"x","clock":"c"}` + "\n"

func TestBadLogsNameTheLine(t *testing.T) {
	const pub = `{"kind":"publish","op":1,"channel":"d:x","producer":"p","n":1,"digest":"000000000000000a"}` + "\n"
	for in, want := range map[string]string{
		"":                                       "x.log:1: not a log of version 1: it is empty",
		"hello\n":                                "x.log:1: not a log of version 1: not JSON",
		`{"kind":"publish"}` + "\n":              `x.log:1: not a log of version 1: kind "publish": a log begins with`,
		`{"kind":"log","v":9}` + "\n":            "version 9 of the format; this program reads 1",
		head + "\n":                              "x.log:2: not a log of version 1: not JSON",
		head + pub + `{"kind":"wish"}` + "\n":    `x.log:3: not a log of version 1: kind "wish" is not known`,
		head + pub + pub:                         "x.log:3: not a log of version 1: op 1 began before",
		head + `{"kind":"answer","op":1}` + "\n": `x.log:2: not a log of version 1: code "": no such code`,
		head + `{"kind":"message","sub":3}` + "\n":                                                                     "x.log:2: not a log of version 1: at: position",
		head + strings.Replace(pub, `"op":1,`, ``, 1):                                                                  "op is missing",
		head + strings.Replace(pub, `"d:x"`, `"x"`, 1):                                                                 `channel "x": no namespace`,
		head + strings.Replace(pub, `"n":1,`, ``, 1):                                                                   "a number needs a producer",
		head + strings.Replace(pub, `000a`, `a`, 1):                                                                    "write 16 hexadecimal digits",
		head + `{"kind":"subscribe","sub":1,"channel":"d:x","from":"soon"}` + "\n":                                     `from "soon": write one of [live`,
		head + `{"kind":"gap","sub":1,"after":"1:1","next":"1:2","reason":"no"}` + "\n":                                `reason "no": write one of [trimmed`,
		head + pub + `{"kind":"answer","op":1,"code":"busy"}` + "\n" + `{"kind":"answer","op":1,"code":"busy"}` + "\n": "x.log:4: not a log of version 1: op 1 is answered already",
		head + strings.Repeat("x", maxLine+1):                                                                          "more than 65536 bytes",
	} {
		_, err := Read("x.log", strings.NewReader(in))
		if err == nil || !errors.Is(err, ErrLog) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: error %v, want %q", in, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	for _, l := range newWorld(3).run(60) {
		b.Reset()
		if _, err := l.WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := Read("fuzz", bytes.NewReader(in))
		if err != nil {
			return
		}
		Run(Config{Kept: []relay.Pattern{"*"}}, l, l)
		var once, twice bytes.Buffer
		if _, err := l.WriteTo(&once); err != nil {
			t.Fatal(err)
		}
		again, err := Read("fuzz", bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, once.Bytes())
		}
		if _, err := again.WriteTo(&twice); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("error %v: read and written again:\n%s\nwas:\n%s", err, twice.Bytes(), once.Bytes())
		}
	})
}

// TestRecorderWritesWhatItKeeps: lines on their way to a file are those that memory has.
func TestRecorderWritesWhatItKeeps(t *testing.T) {
	var logs [2]string
	for i := range logs {
		var out bytes.Buffer
		now := int64(0)
		cfg := RecorderConfig{Name: "r", Clock: Clock{"c", func() int64 { now++; return now }}}
		if i == 1 {
			cfg.Out = &out
		}
		r := NewRecorder(cfg)
		op := r.Publish(Publish{Channel: "d:x", Producer: "p", N: 1, Payload: []byte("a")})
		r.Answer(op, relay.Position{Epoch: 1, Seq: 1}, relay.Done)
		r.Answer(r.Publish(Publish{Channel: "d:x", Producer: "p", N: 2, Void: true}), relay.Position{}, relay.Voided)
		s := r.Subscribe(relay.SubscribeRequest{Channel: "d:x", Barrier: true, Limit: 3, Mode: relay.Latest,
			From: relay.Start{Kind: relay.StartLast, Count: 3}})
		s.Frame(relay.Frame{Kind: relay.KindOK, At: relay.Position{Epoch: 1}, Next: relay.Position{Epoch: 1, Seq: 1}}, nil)
		s.Frame(relay.Frame{Kind: relay.KindMessage, At: relay.Position{Epoch: 1, Seq: 1}}, []byte("a"))
		s.Frame(relay.Frame{Kind: relay.KindStatus, State: relay.Restored}, nil)
		s.Frame(relay.Frame{Kind: relay.KindGap, At: relay.Position{Epoch: 1, Seq: 1}, Next: relay.Position{Epoch: 2, Seq: 1}, Reason: relay.GapEpoch}, nil)
		s.Frame(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.GoingAway, Deadline: time.Second}}, nil)
		s.Frame(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.Moved}}, nil)
		r.Replica("r1", "d:x").Drained()
		if i == 0 {
			if _, err := r.Log().WriteTo(&out); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		logs[i] = out.String()
	}
	if logs[0] != logs[1] {
		t.Errorf("in memory:\n%s\nwritten:\n%s", logs[0], logs[1])
	}
	if got, err := Read("r", strings.NewReader(logs[1])); err != nil || got.Len() != strings.Count(logs[1], "\n") {
		t.Errorf("error %v", err)
	}
}

// TestRecordedUpstream: what goes through a recorded Upstream is judged.
func TestRecordedUpstream(t *testing.T) {
	r := NewRecorder(RecorderConfig{})
	fake := relaytest.NewFake()
	u := r.Upstream(fake, func(body []byte) []byte { return relaytest.Decode(t, body).Payload })
	at := func(seq relay.Seq) relay.Position { return relay.Position{Epoch: 1, Seq: seq} }

	q := u.Subscribe(relay.SubscribeRequest{Channel: "d:x"}, func() {})
	sub := fake.AwaitSubscription(t, 0)
	sub.OK(at(0))
	for i, text := range []string{"a", "b"} {
		p := relay.Publication{Channel: "d:x", Subject: "s", Producer: relay.Producer{1}, N: uint64(i + 1), Body: relaytest.Body(text, "")}
		if err := u.Publish(p, func(relay.Position, relay.End) {}); err != nil {
			t.Fatal(err)
		}
		fake.AwaitPublish(t, i).Answer(at(relay.Seq(i+1)), relay.End{})
		sub.Message(at(relay.Seq(i+1)), p.Body)
	}
	fake.SetBusy(true)
	if err := u.Publish(relay.Publication{Channel: "d:x", Body: relaytest.Body("c", "")}, nil); !errors.Is(err, relay.ErrBusy) {
		t.Fatalf("error %v", err)
	}
	if n := len(q.Next(nil, 1<<20)); n != 3 {
		t.Fatalf("%d frames", n)
	}
	if err := Drained(q); err != nil {
		t.Fatal(err)
	}
	if err := Drained(sub); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("error %v", err)
	}
	q.Close()
	if v := Run(Config{}, r.Log()); !v.OK() || v.Counts.Acknowledged != 2 || v.Counts.Messages != 2 || v.Counts.Open != 0 {
		t.Errorf("%+v", v)
	}

	// The body that is published is the one that is delivered, so a message that is not is found.
	q = u.Subscribe(relay.SubscribeRequest{Channel: "d:x"}, func() {})
	sub = fake.AwaitSubscription(t, 1)
	sub.OK(at(0))
	sub.Message(at(1), relaytest.Body("b", ""))
	q.Next(nil, 1<<20)
	if v := Run(Config{}, r.Log()); v.OK() {
		t.Error("a wrong message was not found")
	}
}

// TestManyLines: a verdict about a long run comes in seconds. 2 s for a million lines, without the
// race detector.
func TestManyLines(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	const publishes = 40_000
	r := NewRecorder(RecorderConfig{Name: "long"})
	at := func(i int) relay.Position { return relay.Position{Epoch: 1, Seq: relay.Seq(i)} }
	subs := make([]*Subscriber, 2)
	for i := range subs {
		subs[i] = r.Subscribe(relay.SubscribeRequest{Channel: "d:x"})
		subs[i].Frame(relay.Frame{Kind: relay.KindOK, At: at(0), Next: at(0)}, nil)
	}
	for i := 1; i <= publishes; i++ {
		p := payload(uint64(i))
		op := r.Publish(Publish{Channel: "d:x", Producer: "p", N: uint64(i), Payload: p})
		r.Answer(op, at(i), relay.Done)
		for _, s := range subs {
			s.Frame(relay.Frame{Kind: relay.KindMessage, At: at(i)}, p)
		}
	}
	s := r.Replica("r1", "d:x")
	s.Frame(relay.Frame{Kind: relay.KindOK, At: at(0), Next: at(publishes)}, nil)
	for i := 1; i <= publishes; i++ {
		s.Frame(relay.Frame{Kind: relay.KindMessage, At: at(i)}, payload(uint64(i)))
	}
	s.Frame(relay.Frame{Kind: relay.KindEnd, End: &relay.End{}}, nil)
	var b bytes.Buffer
	if _, err := r.Log().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l, err := Read("long", &b)
	if err != nil {
		t.Fatal(err)
	}
	read := time.Since(began)
	v := Run(Config{}, l)
	if !v.OK() || v.Counts.Lines < 200_000 {
		t.Fatalf("%+v", v)
	}
	t.Logf("%d lines: read in %v, judged in %v", l.Len(), read, time.Since(began)-read)
	if all := time.Since(began); all > time.Minute {
		t.Errorf("%d lines took %v", l.Len(), all)
	}
}
