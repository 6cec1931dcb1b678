package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// marked is a log of ten entries whose data can be found in Pebble's log.
func marked(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	s, _ := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	for i := uint64(2); i <= 11; i++ {
		e := entry(i, 1, "")
		e.Data = []byte(strings.Repeat(mark(i), 8))
		mustWrite(t, s, &shard.Write{Replica: one, Entries: []*raftpb.Entry{e}, Sync: true})
	}
	return crashed(disk)
}

func mark(i uint64) string { return "entry-" + string(rune('a'+i)) + ";" }

// damage flips a byte of entry i in Pebble's log.
func damage(t *testing.T, disk vfs.FS, i uint64) {
	t.Helper()
	for _, path := range files(t, disk, "/node/log", ".log") {
		if at := bytes.Index(content(t, disk, path), []byte(mark(i))); at >= 0 {
			flip(t, disk, path, at)
			return
		}
	}
	t.Fatalf("entry %d is in no log", i)
}

// A damaged record that others were synced after is told apart from a torn end, and refused: one
// with two after it for certain, see checkWALs.
func TestDamagedRecord(t *testing.T) {
	for i := uint64(2); i <= 9; i++ {
		disk := marked(t)
		damage(t, disk, i)
		s, err := Open(testConfig(disk))
		if err == nil {
			info, _ := s.Info(one)
			s.Close()
			t.Fatalf("a log with a damaged entry %d was opened; it ends with %v", i, info.Last)
		}
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "shard replace") {
			t.Fatal(err)
		}
	}
}

// The last record has nothing after it: damaged, it is like one that was being written when the
// power went, and the log ends before it. Only the other replicas know better.
func TestDamagedLastRecord(t *testing.T) {
	disk := marked(t)
	damage(t, disk, 11)
	s, err := Open(testConfig(disk))
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		return
	}
	defer s.Close()
	info, err := s.Info(one)
	if err != nil || info.Last.Index != 10 {
		t.Errorf("the log ends with %v, %v; want entry 10", info.Last, err)
	}
	list, err := s.Entries(one, 2, 11, 1<<20)
	if err != nil || len(list) != 9 || !strings.HasPrefix(string(list[8].GetData()), mark(10)) {
		t.Errorf("%d entries, %v", len(list), err)
	}
}

// Damage that is only found when a table is read ends the store, with the remedy.
func TestDamagedTable(t *testing.T) {
	disk := marked(t)
	s, stop := run(t, testConfig(disk)) // writes the log's memory to a table
	b := s.Begin(one)
	for i := range 200 {
		b.Set([]byte{0x11, byte(i)}, bytes.Repeat([]byte{byte(i)}, 500))
	}
	shard.WriteApplied(b, shard.Place{Index: 11, Term: 1})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	stop()
	for _, path := range files(t, disk, "/node/state", ".blob") {
		for at := 0; at < len(content(t, disk, path))*3/4; at += 7 {
			flip(t, disk, path, at)
		}
	}
	s, err := Open(testConfig(disk))
	if err == nil {
		r := s.Read(one, false)
		for range r.Ascend([]byte{0x11}, []byte{0x12}) {
		}
		err = r.Err()
		r.Close()
		select {
		case <-s.Failed():
		default:
			t.Error("the store goes on")
		}
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "shard replace") {
		t.Errorf("read damaged values: %v", err)
	}
}

// A log with a hole is damage, wherever it came from.
func TestHole(t *testing.T) {
	disk := vfs.NewMem()
	s, stop := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: one, Entries: entries(2, 9, 1), Sync: true})
	if err := s.log.Delete(appendEntryKey(nil, one, 5), nil); err != nil {
		t.Fatal(err)
	}
	stop()
	s, err := Open(testConfig(disk))
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "entry 6 after 4") {
		t.Error(err)
	}
}

// A log that begins after its state is damage: the state lost what it had.
func TestStateBehindLog(t *testing.T) {
	disk := vfs.NewMem()
	s, stop := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: one, Entries: entries(2, 9, 1), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: one, Trunc: shard.Place{Index: 5, Term: 1}, Sync: true})
	stop()
	s, err := Open(testConfig(disk))
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "stands at entry 1, and its log begins after 5") {
		t.Error(err)
	}
}

// A state taken in over a log that goes beyond its place, on another branch: the crash came before
// the log was set, which Open does.
func TestStateAcrossLog(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s, _ := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: one, Hard: hard(3, 1, 4), Entries: entries(2, 9, 3), Sync: true})
	b := s.Begin(one)
	at := shard.Place{Index: 6, Term: 5}
	shard.WriteApplied(b, at)
	if err := errors.Join(b.Commit(), s.Flush()); err != nil {
		t.Fatal(err)
	}
	s, _ = run(t, testConfig(crashed(disk)))
	info, err := s.Info(one)
	if err != nil || info.Trunc != at || info.Last != at || info.Hard.GetTerm() != 5 || info.Hard.GetVote() != 0 || info.Hard.GetCommit() != 6 {
		t.Errorf("%+v, %v", info, err)
	}
}
