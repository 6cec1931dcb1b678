package shard

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
)

var updateGolden = flag.Bool("update", false, "write testdata anew")

var publications = []relay.Publication{
	{Channel: "chat:a", Body: []byte("body")},
	{Channel: "chat:a", Subject: "alice", Producer: relay.Producer{1, 2, 3}, N: 300,
		Age: 1500 * time.Millisecond, Body: []byte("body")},
	{Channel: "chat:b", Subject: "al\x00ice", Producer: relay.Producer{9}, N: 1, Void: true},
}

var commands = []Command{
	{Steps: []channel.Step{
		{Op: channel.Look, Channel: "chat:a"}, {Op: channel.Forget, Channel: "chat:b"},
		{Op: channel.Trim, Channel: "chat:a", Through: relay.Position{Epoch: 5, Seq: 700}},
		{Op: channel.Compact, Channel: "chat:a", Through: relay.Position{Epoch: 5, Seq: 1 << 40}},
		{Op: channel.Sweep, Namespace: "chat"},
	}},
	{Expire: 1000},
	{Policy: &PolicyChange{"chat", channel.Policy{Age: -1, Bytes: 1 << 30, Keyed: true, Payload: 9, ForgetAfter: time.Hour}}},
	{Policy: &PolicyChange{"logs", channel.Policy{Age: time.Minute, Count: 77}}},
	{Limits: &channel.Limits{Subject: 1, Channel: 1 << 20, Shard: 1 << 33}},
	{Slots: &SlotChange{Namespace: "chat", First: 7, Last: 4095, Own: true}},
	{Slots: &SlotChange{Namespace: "chat", First: 0, Last: 6, Else: 12}},
	{Pin: &PinChange{Channel: "chat:p", Own: true}},
	{Pin: &PinChange{Channel: "chat:q", Else: 3}},
	{Raise: &RaiseChange{Floor: 1 << 41, Broken: true}},
	{Version: 2},
	{Prefer: &PreferChange{Member: 300}},
	{Prefer: &PreferChange{}},
}

var stamp = time.UnixMilli(1_700_000_000_123)

// example is an entry with every command there is.
func example(t testing.TB) []byte {
	b := appendEntry(nil, 0x0102030405060708, stamp)
	for i := range publications {
		b = appendPublish(b, &publications[i])
	}
	for i := range commands {
		var err error
		if b, err = appendCommand(b, &commands[i]); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// golden compares with a file of hex, which has a line for each piece.
func golden(t *testing.T, file string, pieces ...[]byte) {
	t.Helper()
	var b strings.Builder
	for _, p := range pieces {
		fmt.Fprintf(&b, "%x\n", p)
	}
	if *updateGolden {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s has\n%s\nnow it would be\n%s", file, want, b.String())
	}
}

// TestEntry: what was encoded is decoded, and the bytes are those that older processes wrote. A
// change of the format needs a new kind or version, not -update.
func TestEntry(t *testing.T) {
	b := example(t)
	golden(t, "testdata/entry.txt", b)
	id, now, d, err := openEntry(b)
	if err != nil || id != 0x0102030405060708 || now != uint64(stamp.UnixMilli()) {
		t.Fatalf("id %x, time %d, %v", id, now, err)
	}
	var pubs []relay.Publication
	var got []Command
	for {
		k, body, ok := d.next()
		if !ok {
			break
		}
		if k == kindPublish {
			var p relay.Publication
			body.publish(&p)
			pubs = append(pubs, p)
		} else if c := body.command(k); k == kindStep && len(got) > 0 {
			got[0].Steps = append(got[0].Steps, c.Steps...)
		} else {
			got = append(got, c)
		}
		if !body.done() {
			t.Errorf("%d of a command of kind %d is left", len(body.b), k)
		}
	}
	if !d.done() || !reflect.DeepEqual(pubs, publications) || !reflect.DeepEqual(got, commands) {
		t.Errorf("decoded\n%+v\n%+v\nwant\n%+v\n%+v", pubs, got, publications, commands)
	}
	for i := range publications {
		if n := len(appendPublish(nil, &publications[i])); n > publishSize(&publications[i]) {
			t.Errorf("publish of %d bytes: its size says %d", n, publishSize(&publications[i]))
		}
	}
}

// TestEntryRefused: a Command of two things or none is refused.
func TestEntryRefused(t *testing.T) {
	for _, c := range []Command{{}, {Expire: 1, Version: 2}, {Steps: make([]channel.Step, 1), Expire: 1}} {
		if _, err := appendCommand(nil, &c); err == nil {
			t.Errorf("%+v was encoded", c)
		}
		if _, err := commandVersion(&c); err == nil {
			t.Errorf("%+v needs a version", c)
		}
	}
}

// TestEntryAllocations: publishes are encoded and decoded without allocating.
func TestEntryAllocations(t *testing.T) {
	b := make([]byte, 0, 4096)
	p := relay.Publication{}
	if n := testing.AllocsPerRun(100, func() {
		b = appendEntry(b[:0], 7, stamp)
		for i := range publications {
			b = appendPublish(b, &publications[i])
		}
		_, _, d, _ := openEntry(b)
		for {
			_, body, ok := d.next()
			if !ok {
				break
			}
			body.publish(&p)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzEntry: whatever stands in an entry, running it ends, with an error or with a state that
// does not depend on chance, in memory that its length bounds.
func FuzzEntry(f *testing.F) {
	f.Add(example(f))
	b := appendEntry(nil, 1, stamp)
	f.Add(b)
	f.Add(appendPublish(b, &publications[1]))
	f.Add(append(bytes.Clone(b), byte(kindPublish), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		run := func() (*memview.View, error) {
			v := memview.New()
			if err := testGenesis().Write(v); err != nil {
				t.Fatal(err)
			}
			a := &Apply{Replica: Replica{1, 1}, Entries: []*raftpb.Entry{{Index: new(uint64(2)), Term: new(uint64(2)), Data: data}}}
			return v, NewMachine().Run(a, v)
		}
		one, err := run()
		two, again := run()
		if (err == nil) != (again == nil) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("%v; again: %v", err, again)
		}
		if err == nil && !bytes.Equal(dumpView(one), dumpView(two)) {
			t.Fatal("two runs left different states")
		}
	})
}

func dumpView(r channel.Reader) []byte {
	var b bytes.Buffer
	for k, v := range r.Ascend([]byte{0}, []byte{0xff}) {
		fmt.Fprintf(&b, "%x=%x\n", k, v)
	}
	return b.Bytes()
}

func testGenesis() *Genesis {
	return &Genesis{
		Descriptor: Descriptor{Shard: 1, Class: Region, Members: []Member{
			{Number: 1, Node: "a", Store: StoreID{1}, Role: Voter},
			{Number: 2, Node: "b", Store: StoreID{2}, Role: Voter},
			{Number: 3, Node: "c", Store: StoreID{3}, Role: Voter},
		}},
		Time:     time.UnixMilli(1_600_000_000_000),
		Slots:    []SlotChange{{Namespace: "chat", Last: relay.Slots - 1, Own: true}},
		Policies: []PolicyChange{{Namespace: "chat"}},
	}
}

// TestOwnRecords holds the shard's own keys and values, and contexts, to the bytes in testdata.
func TestOwnRecords(t *testing.T) {
	v := memview.New()
	if err := testGenesis().Write(v); err != nil {
		t.Fatal(err)
	}
	ctx := confContext{id: 77, members: []Member{{Number: 4, Node: "d", Store: StoreID{4}}}}
	var pieces [][]byte
	for k, val := range v.Ascend([]byte{0}, []byte{1}) {
		pieces = append(pieces, k, val)
	}
	wished := testGenesis().Descriptor
	wished.Version, wished.Next, wished.Prefer = 1, 4, 3
	if back, err := decodeDescriptor(wished.append(nil)); err != nil || !reflect.DeepEqual(back, wished) {
		t.Errorf("descriptor %+v, %v, want %+v", back, err, wished)
	}
	golden(t, "testdata/own.txt", append(pieces, ctx.append(nil), wished.append(nil))...)
	var back confContext
	if err := back.decode(ctx.append(nil)); err != nil || !reflect.DeepEqual(back, ctx) {
		t.Errorf("context %+v, %v", back, err)
	}
	d, ok := ReadDescriptor(v)
	if at, is := ReadApplied(v); !ok || !is || at != Origin || d.Next != 4 || d.Version != 1 || len(d.Members) != 3 {
		t.Errorf("%+v at %v", d, at)
	}
}

// FuzzDescriptor: decoding ends, and what was decoded encodes to the same.
func FuzzDescriptor(f *testing.F) {
	d := testGenesis().Descriptor
	f.Add(d.append(nil))
	d.Prefer = 2
	f.Add(d.append(nil))
	ctx := confContext{id: 1, members: d.Members}
	f.Add(ctx.append(nil))
	cc := raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{NodeId: new(uint64(4))}}, Context: ctx.append(nil)}
	b, err := proto.Marshal(&cc)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := decodeDescriptor(data); err == nil {
			if again, err := decodeDescriptor(d.append(nil)); err != nil || !reflect.DeepEqual(d, again) {
				t.Fatalf("%+v becomes %+v, %v", d, again, err)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if _, _, err := decodeConfChange(&raftpb.Entry{Data: data}); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
