package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// testConfig is a Config of a small store in memory.
func testConfig(fsys vfs.FS) Config {
	return Config{
		Dir: "/node", FS: fsys, Fleet: "f", Node: "n1", Ballast: -1,
		Cache: 8 << 20, LogMemory: 4 << 20, StateMemory: 1 << 20, Watch: time.Hour,
	}
}

// run opens a store and runs its loop until the test ends, or stop is called, which also closes
// the store.
func run(t testing.TB, cfg Config) (s *Store, stop func()) {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-ended
		if s.Err() == nil {
			if err := s.Close(); err != nil {
				t.Error("close:", err)
			}
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// write submits a Write and waits for it, or for the store's failure.
func write(t testing.TB, s *Store, w *shard.Write) error {
	t.Helper()
	done := make(chan struct{})
	s.Submit(w, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-s.Failed():
		return s.Err()
	case <-time.After(20 * time.Second):
		t.Fatal("a write is not done")
		return nil
	}
}

func mustWrite(t testing.TB, s *Store, w *shard.Write) {
	t.Helper()
	if err := write(t, s, w); err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Type: raftpb.EntryNormal.Enum(), Data: []byte(data)}
}

func entries(from, to, term uint64) (list []*raftpb.Entry) {
	for i := from; i <= to; i++ {
		list = append(list, entry(i, term, fmt.Sprintf("%d.%d", i, term)))
	}
	return list
}

func hard(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

func genesis(id shard.ID) *shard.Genesis {
	return &shard.Genesis{
		Descriptor: shard.Descriptor{
			Shard: id, Class: shard.Region,
			Members: []shard.Member{{Number: 1, Node: "n1", Role: shard.Voter}},
		},
		Time: time.UnixMilli(1_700_000_000_000),
	}
}

func crashed(fsys vfs.FS) *vfs.MemFS {
	return fsys.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
}

func TestLogSurvivesCrash(t *testing.T) {
	fsys := vfs.NewCrashableMem()
	s, _ := run(t, testConfig(fsys))
	r := shard.Replica{Shard: 7, Number: 1}
	mustWrite(t, s, &shard.Write{Replica: r, Create: true, Genesis: genesis(7), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: r, Hard: hard(2, 1, 1), Entries: entries(2, 9, 2), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: r, Hard: hard(3, 1, 4), Entries: entries(6, 7, 3), Sync: true})

	s, _ = run(t, testConfig(crashed(fsys)))
	info, err := s.Info(r)
	if err != nil {
		t.Fatal(err)
	}
	if info.Trunc != shard.Origin || info.Last != (shard.Place{Index: 7, Term: 3}) || info.Hard.GetTerm() != 3 {
		t.Fatalf("after a crash: %+v", info)
	}
	list, err := s.Entries(r, 2, 8, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, e := range list {
		got += string(e.GetData()) + " "
	}
	if want := "2.2 3.2 4.2 5.2 6.3 7.3 "; got != want {
		t.Fatalf("entries %q, want %q", got, want)
	}
	rd := s.Read(r, false)
	defer rd.Close()
	if at, ok := shard.ReadApplied(rd); !ok || at != shard.Origin {
		t.Fatalf("first state after a crash: %v, %t", at, ok)
	}
}
