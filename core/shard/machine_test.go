package shard

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

func normal(index uint64, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Index: new(index), Term: new(uint64(2)), Data: data}
}

func born(t testing.TB) *memview.View {
	v := memview.New()
	must(t, testGenesis().Write(v))
	return v
}

// TestMachineGroups: however entries are grouped into runs, and though some come again, as after
// a restart, the state is the same.
func TestMachineGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var list []*raftpb.Entry
	now := time.UnixMilli(1_700_000_000_000)
	for i := range uint64(200) {
		now = now.Add(time.Duration(r.IntN(20_000)-3000) * time.Millisecond) // the leader's clock may be set back
		b := appendEntry(nil, i, now)
		for n := range uint64(r.IntN(4)) {
			b = appendPublish(b, &relay.Publication{Channel: relay.Channel(fmt.Sprintf("chat:%d", r.IntN(3))),
				Producer: relay.Producer{byte(i), byte(n)}, N: 1, Body: relaytest.Body(fmt.Sprint(i, n), "")})
		}
		switch r.IntN(8) {
		case 0:
			b, _ = appendCommand(b, &Command{Expire: 10})
		case 1:
			b, _ = appendCommand(b, &Command{Raise: &RaiseChange{Floor: relay.Epoch(i), Broken: true}})
		case 2:
			b, _ = appendCommand(b, &Command{Policy: &PolicyChange{"chat", channel.Policy{Count: uint64(5 + r.IntN(20))}}})
		case 3:
			b, _ = appendCommand(b, &Command{Steps: []channel.Step{{Op: channel.Sweep, Namespace: "chat"},
				{Op: channel.Trim, Channel: "chat:1", Through: relay.Position{Epoch: relay.Epoch(i / 2), Seq: 9}}}})
		case 4:
			b = nil // raft's own
		}
		list = append(list, normal(i+2, b))
	}
	one, m := born(t), NewMachine()
	for _, e := range list {
		must(t, m.Run(&Apply{Replica: Replica{1, 1}, Entries: []*raftpb.Entry{e}}, one))
	}
	want := dumpView(one)
	if len(want) < 5000 {
		t.Fatalf("nothing happened: %s", want)
	}
	for range 20 {
		v := born(t)
		for at := 0; at < len(list); {
			n := min(1+r.IntN(30), len(list)-at)
			from := max(0, at-r.IntN(5))
			must(t, m.Run(&Apply{Replica: Replica{1, 2}, Entries: list[from : at+n]}, v))
			at += n
		}
		if !bytes.Equal(dumpView(v), want) {
			t.Fatal("the grouping of entries shows in the state")
		}
	}
}

// TestMachineAnswers: proposals made here are answered, in order, with what became of them, and
// the result tells which channels were touched.
func TestMachineAnswers(t *testing.T) {
	v, m := born(t), NewMachine()
	var got []string
	p := &proposal{done: func(error) {}}
	data := appendEntry(nil, 1, stamp)
	for i, ch := range []relay.Channel{"chat:a", "chat:b", "elsewhere:a", "chat:a"} {
		data = appendPublish(data, &relay.Publication{Channel: ch, Body: relaytest.Body("x", "")})
		p.answers = append(p.answers, func(at relay.Position, end relay.End) {
			got = append(got, fmt.Sprint(i, " ", at, " ", end.Code))
		})
	}
	data, err := appendCommand(data, &Command{Policy: &PolicyChange{"chat", channel.Policy{Payload: -1}}})
	must(t, err)
	other := appendPublish(appendEntry(nil, 2, stamp), &relay.Publication{Channel: "chat:c", Body: relaytest.Body("x", "")})
	a := &Apply{Replica: Replica{1, 1}, Entries: []*raftpb.Entry{normal(2, other), normal(3, nil), normal(4, data)},
		proposals: []*proposal{nil, nil, p}}
	must(t, m.Run(a, v))
	if len(got) > 0 {
		t.Error("answered before the commit")
	}
	a.Answer()
	if want := "[0 1:1 done 1 1:1 done 2 0:0 unknown_namespace 3 1:2 done]"; fmt.Sprint(got) != want {
		t.Errorf("answers %v, want %v", got, want)
	}
	if want := "[{chat:c 1} {chat:a 1} {chat:b 1}]"; fmt.Sprint(a.Result.Touched) != want {
		t.Errorf("touched %v, want %v", a.Result.Touched, want)
	}
	if a.Result.Applied != (Place{4, 2}) || p.err == nil || a.Result.Descriptor != nil {
		t.Errorf("applied %v, refusal %v", a.Result.Applied, p.err)
	}
	if want := uint64(stamp.Add(channel.DefaultAge + channel.DefaultAge/channel.LateShare).UnixMilli()); a.Result.Due != want {
		t.Errorf("due %d, want %d", a.Result.Due, want)
	}
	for i := range data { // what is kept is not a part of the entry
		data[i] = 0xee
	}
	if want := "[{chat:c 1} {chat:a 1} {chat:b 1}]"; fmt.Sprint(a.Result.Touched) != want {
		t.Errorf("touched after the entry is gone: %v", a.Result.Touched)
	}
}

// TestMachineDamage: what this version cannot know ends it with an error that says so.
func TestMachineDamage(t *testing.T) {
	head := appendEntry(nil, 1, stamp)
	for name, e := range map[string]*raftpb.Entry{
		"version":  normal(2, []byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
		"kind":     normal(2, append(bytes.Clone(head), 99, 0)),
		"none":     normal(2, append(bytes.Clone(head), 0, 0)),
		"short":    normal(2, append(bytes.Clone(head), byte(kindRaise), 9, 1)),
		"rest":     normal(2, append(bytes.Clone(head), byte(kindRaise), 3, 1, 1, 1)),
		"gap":      normal(4, head),
		"conf":     {Index: new(uint64(2)), Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte{0xff}},
		"the node": conf(t, 2, raftpb.ConfChangeTransitionAuto, confContext{}, change(raftpb.ConfChangeAddNode, 4)),
	} {
		if err := NewMachine().Run(&Apply{Entries: []*raftpb.Entry{e}}, born(t)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := born(t)
	v.Set([]byte("\x10chat:a"), []byte{9})
	data := appendPublish(head, &relay.Publication{Channel: "chat:a", Body: relaytest.Body("x", "")})
	m := NewMachine()
	if err := m.Run(&Apply{Entries: []*raftpb.Entry{normal(2, data)}}, v); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged state: %v", err)
	}
	for name, c := range map[string]Command{"version": {Version: 2}, "prefer": {Prefer: &PreferChange{Member: 1}}} {
		v := born(t)
		v.Set(keyDescriptor, []byte{9})
		data, err := appendCommand(bytes.Clone(head), &c)
		must(t, err)
		if err := m.Run(&Apply{Entries: []*raftpb.Entry{normal(2, data)}}, v); !errors.Is(err, ErrDamaged) {
			t.Errorf("a damaged descriptor under a command of %s: %v", name, err)
		}
	}
	must(t, m.Run(&Apply{Entries: []*raftpb.Entry{normal(2, data)}}, born(t)))
	if err := m.Run(&Apply{Entries: []*raftpb.Entry{normal(2, data)}}, memview.New()); !errors.Is(err, ErrDamaged) {
		t.Errorf("no state: %v", err)
	}
}

func change(typ raftpb.ConfChangeType, n uint64) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: typ.Enum(), NodeId: new(n)}
}

func conf(t testing.TB, index uint64, how raftpb.ConfChangeTransition, ctx confContext, list ...*raftpb.ConfChangeSingle) *raftpb.Entry {
	cc := &raftpb.ConfChangeV2{Transition: how.Enum(), Changes: list}
	if len(list) > 0 {
		cc.Context = ctx.append(nil)
	}
	data, err := proto.Marshal(cc)
	must(t, err)
	return &raftpb.Entry{Index: new(index), Term: new(uint64(2)), Type: raftpb.EntryConfChangeV2.Enum(), Data: data}
}

// TestMembership: through random changes the descriptor has the membership that raft has, no
// number comes twice, and new members have their nodes.
func TestMembership(t *testing.T) {
	types := []raftpb.ConfChangeType{raftpb.ConfChangeAddNode, raftpb.ConfChangeAddLearnerNode, raftpb.ConfChangeRemoveNode}
	made, joints := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		v, m := born(t), NewMachine()
		d, _ := ReadDescriptor(v)
		changer := confchange.Changer{Tracker: tracker.MakeProgressTracker(1, 0)}
		cfg, trk, err := confchange.Restore(changer, d.ConfState())
		must(t, err)
		for index := uint64(2); index < 20; index++ {
			changer.Tracker.Config, changer.Tracker.Progress = cfg, trk
			var e *raftpb.Entry
			if d.Joint {
				e = conf(t, index, raftpb.ConfChangeTransitionAuto, confContext{})
				cfg, trk, err = changer.LeaveJoint()
				must(t, err)
				joints++
			} else {
				var list []*raftpb.ConfChangeSingle
				var ctx confContext
				next, seen := d.Next, map[uint64]bool{}
				for range 1 + r.IntN(3) {
					typ, n := types[r.IntN(3)], uint64(0)
					if typ != raftpb.ConfChangeRemoveNode && r.IntN(2) == 0 {
						n = uint64(next)
						ctx.members = append(ctx.members, Member{Number: next, Node: Node(fmt.Sprint("n", n))})
						next++
					} else {
						n = uint64(d.Members[r.IntN(len(d.Members))].Number)
					}
					if !seen[n] {
						list = append(list, change(typ, n))
					}
					seen[n] = true
				}
				cc := &raftpb.ConfChangeV2{Changes: list}
				auto, joint := cc.EnterJoint()
				old, oldTrk := cfg, trk
				if joint {
					cfg, trk, err = changer.EnterJoint(auto, list...)
				} else {
					cfg, trk, err = changer.Simple(list...)
				}
				if err != nil { // such as one without voters: nobody proposes that
					cfg, trk = old, oldTrk
					e = normal(index, nil)
				} else {
					e = conf(t, index, raftpb.ConfChangeTransitionAuto, ctx, list...)
					made++
				}
			}
			a := &Apply{Replica: Replica{1, 1}, Entries: []*raftpb.Entry{e}}
			must(t, m.Run(a, v))
			before := d.Next
			if d, _ = ReadDescriptor(v); d.Next < before {
				t.Fatalf("next %d after %d", d.Next, before)
			}
			want := (&tracker.ProgressTracker{Config: cfg, Progress: trk}).ConfState()
			if err := want.Equivalent(d.ConfState()); err != nil {
				t.Fatalf("seed %d: after %v: %+v: %v", seed, e, d, err)
			}
			for _, m := range d.Members {
				if m.Number >= d.Next || m.Node == "" {
					t.Fatalf("seed %d: %+v", seed, d)
				}
			}
		}
	}
	if made < 1000 || joints < 300 {
		t.Errorf("%d changes, %d joint", made, joints)
	}
}

// BenchmarkMachine publishes on 64 channels from 64 producers each, 100 in an entry.
func BenchmarkMachine(b *testing.B) {
	const channels, producers, batch = 64, 64, 100
	g := testGenesis()
	g.Policies[0].Policy.Count = 1000
	v := memview.New()
	must(b, g.Write(v))
	m := NewMachine()
	body := relaytest.Body(string(bytes.Repeat([]byte{'x'}, 1000)), "")
	data := make([]byte, 0, 1<<18)
	numbers := make([]uint64, channels*producers)
	index, next := uint64(1), 0
	now := stamp
	a := &Apply{Replica: Replica{1, 1}}
	names := make([]relay.Channel, channels)
	for i := range names {
		names[i] = relay.Channel(fmt.Sprint("chat:", i))
	}
	p := &proposal{answers: make([]Answer, batch)}
	failed := 0
	for i := range p.answers {
		p.answers[i] = func(_ relay.Position, end relay.End) {
			if end.Code != relay.Done {
				failed++
			}
		}
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		now = now.Add(time.Millisecond)
		data = appendEntry(data[:0], index, now)
		for range batch {
			k := next % len(numbers)
			next += 67
			numbers[k]++
			data = appendPublish(data, &relay.Publication{Channel: names[k%channels], Subject: "alice",
				Producer: relay.Producer{1, byte(k / channels)}, N: numbers[k], Body: body})
		}
		index++
		a.Entries = []*raftpb.Entry{normal(index, data)}
		a.proposals = []*proposal{p}
		must(b, m.Run(a, v))
		a.Answer()
		if index%100 == 0 {
			b.StopTimer()
			for _, c := range Upkeep(v, now) {
				index++
				d, err := appendCommand(appendEntry(nil, index, now), &c)
				must(b, err)
				a.Entries, a.proposals = []*raftpb.Entry{normal(index, d)}, nil
				must(b, m.Run(a, v))
			}
			b.StartTimer()
		}
	}
	if failed > 0 {
		b.Fatalf("%d failed", failed)
	}
}
