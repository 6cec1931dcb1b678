package shardtest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// A Harness is a store under test. Its methods are called by one goroutine.
type Harness interface {
	shard.Log
	shard.States
	// Write hands w to the store, and with Sync returns when it is durable.
	Write(w *shard.Write) error
	// Flush makes all states durable as they stand.
	Flush() error
	// Crash cuts the power, and returns the store as a process finds it again. Nothing that is
	// not durable needs to be there. The Harness before is of no use after it.
	Crash() (Harness, error)
	Close()
}

// TestStore is what every store passes. open returns an empty one.
func TestStore(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"Create", (*suite).create}, {"Remove", (*suite).remove}, {"Log", (*suite).entries},
		{"Overwrite", (*suite).overwrite}, {"Truncate", (*suite).truncate}, {"Limits", (*suite).limits},
		{"Batch", (*suite).batch}, {"Order", (*suite).order}, {"Isolation", (*suite).isolation},
		{"Durable", (*suite).durable}, {"Crash", (*suite).crash}, {"Replicas", (*suite).replicas},
		{"Snapshot", (*suite).snapshot}, {"Keep", (*suite).keep}, {"Refuse", (*suite).refuse},
		{"Ahead", (*suite).ahead}, {"Busy", (*suite).busy}, {"Many", (*suite).many},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, Harness: open(t)}
			defer func() { s.Harness.Close() }()
			c.test(s)
		})
	}
}

type suite struct {
	*testing.T
	Harness
}

// genesis is a shard of one member.
func genesis(r shard.Replica) *shard.Genesis {
	return &shard.Genesis{
		Descriptor: shard.Descriptor{Shard: r.Shard, Class: shard.Region,
			Members: []shard.Member{{Number: r.Number, Node: "a", Role: shard.Voter}}},
		Time:     time.Unix(1_000_000, 0),
		Slots:    []shard.SlotChange{{Namespace: "chat", Last: relay.Slots - 1, Own: true}},
		Policies: []shard.PolicyChange{{Namespace: "chat"}},
	}
}

var one = shard.Replica{Shard: 7, Number: 1}

func (s *suite) do(w *shard.Write) {
	s.Helper()
	w.Sync = true
	if err := s.Write(w); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) make(r shard.Replica) {
	s.Helper()
	s.do(&shard.Write{Replica: r, Create: true, Genesis: genesis(r)})
}

// entry has data that its index and term tell.
func entry(index, term uint64, size int) *raftpb.Entry {
	return &raftpb.Entry{Index: new(index), Term: new(term),
		Data: bytes.Repeat([]byte{byte(index), byte(term)}, size/2)}
}

func entries(lo, hi, term uint64) []*raftpb.Entry {
	var list []*raftpb.Entry
	for i := lo; i <= hi; i++ {
		list = append(list, entry(i, term, 10))
	}
	return list
}

func hard(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
}

// stands checks what stands in a log: terms from first on.
func (s *suite) stands(r shard.Replica, trunc shard.Place, terms ...uint64) {
	s.Helper()
	info, err := s.Info(r)
	if err != nil {
		s.Fatal(err)
	}
	last := trunc
	for i, t := range terms {
		last = shard.Place{Index: trunc.Index + uint64(i) + 1, Term: t}
	}
	if info.Trunc != trunc || info.Last != last || info.Hard == nil {
		s.Fatalf("log after %v to %v, hard %v; want after %v to %v", info.Trunc, info.Last, info.Hard, trunc, last)
	}
	if t, err := s.Term(r, trunc.Index); t != trunc.Term || err != nil {
		s.Errorf("term of what was truncated: %d, %v, want %d", t, err, trunc.Term)
	}
	if _, err := s.Term(r, last.Index+1); !errors.Is(err, shard.ErrTruncated) {
		s.Errorf("term of what is not there: %v", err)
	}
	if len(terms) == 0 {
		return
	}
	got, err := s.Entries(r, trunc.Index+1, last.Index+1, 1<<30)
	if err != nil || len(got) != len(terms) {
		s.Fatalf("%d entries, %v, want %d", len(got), err, len(terms))
	}
	for i, e := range got {
		index := trunc.Index + uint64(i) + 1
		want := entry(index, terms[i], 10)
		if e.GetIndex() != index || e.GetTerm() != terms[i] || !bytes.Equal(e.GetData(), want.GetData()) || e.GetType() != want.GetType() {
			s.Errorf("entry %v, want %v", e, want)
		}
		if t, err := s.Term(r, index); t != terms[i] || err != nil {
			s.Errorf("term of entry %d: %d, %v, want %d", index, t, err, terms[i])
		}
	}
}

// reboot cuts the power.
func (s *suite) reboot() {
	s.Helper()
	h, err := s.Crash()
	if err != nil {
		s.Fatal(err)
	}
	s.Harness = h
}

// set commits keys to a state, which then stands at index; empty values delete.
func (s *suite) set(r shard.Replica, index uint64, pairs ...string) {
	s.Helper()
	b := s.Begin(r)
	defer b.Close()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			b.Delete([]byte(pairs[i]))
		} else {
			b.Set([]byte(pairs[i]), []byte(pairs[i+1]))
		}
	}
	if index > 0 {
		shard.WriteApplied(b, shard.Place{Index: index, Term: 2})
	}
	if err := b.Commit(); err != nil {
		s.Fatal(err)
	}
}

// dump returns what a reader has between "k" and "l".
func dump(r channel.Reader) string {
	var b bytes.Buffer
	for k, v := range r.Ascend([]byte("k"), []byte("l")) {
		fmt.Fprintf(&b, "%s=%s ", k, v)
	}
	return b.String()
}

// has checks what stands in a state, and where.
func (s *suite) has(r shard.Replica, durable bool, index uint64, want string) {
	s.Helper()
	rd := s.Read(r, durable)
	defer rd.Close()
	at, _ := shard.ReadApplied(rd)
	if got := dump(rd); got != want || at.Index != index || rd.Err() != nil {
		s.Errorf("state of %v (durable %v) at %d: %q, %v; want at %d: %q", r, durable, at.Index, got, rd.Err(), index, want)
	}
}
