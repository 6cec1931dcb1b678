package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// A load writes to some replicas at once, and remembers what is done.
type load struct {
	mu   sync.Mutex
	done map[shard.Replica]uint64 // the last entry that is durable
	at   map[shard.Replica]uint64 // the last entry that was submitted
}

// data tells an entry apart from every other.
func (l *load) data(r shard.Replica, index uint64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%v@%d ", r, index), 40)
}

// step submits one write, and applies and truncates what may be.
func (l *load) step(t *testing.T, s *Store, r shard.Replica, random *rand.Rand) {
	var list []*raftpb.Entry
	for range 1 + random.IntN(5) {
		l.at[r]++
		e := entry(l.at[r], 1, "")
		e.Data = l.data(r, l.at[r])
		list = append(list, e)
	}
	last := l.at[r]
	s.Submit(&shard.Write{Replica: r, Entries: list, Hard: hard(1, 1, last), Sync: true}, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.done[r] >= last {
			t.Errorf("%v: entry %d is done after %d", r, last, l.done[r])
		}
		l.done[r] = last
	})
	l.mu.Lock()
	done := l.done[r]
	l.mu.Unlock()
	b := s.Begin(r)
	at, _ := shard.ReadApplied(b)
	for i := at.Index + 1; i <= done; i++ {
		b.Set(fmt.Appendf(nil, "\x11%06d", i), l.data(r, i))
	}
	if done > at.Index {
		shard.WriteApplied(b, shard.Place{Index: done, Term: 1})
	}
	if err := b.Commit(); err != nil {
		t.Error(err)
	}
	if random.IntN(20) == 0 {
		if err := s.Flush(); err != nil {
			t.Error(err)
		}
		rd := s.Read(r, true)
		if at, ok := shard.ReadApplied(rd); ok && at.Index > 1 {
			s.Submit(&shard.Write{Replica: r, Trunc: at}, func() {})
		}
		rd.Close()
	}
}

// check opens what a crash left: all that was done before is there, the state has a prefix of
// the log, applied whole, and nothing is torn.
func (l *load) check(t *testing.T, fsys vfs.FS, done map[shard.Replica]uint64) {
	t.Helper()
	s, stop := run(t, testConfig(fsys))
	defer stop()
	for r, last := range done {
		info, err := s.Info(r)
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		if info.Last.Index < last || last > 1 && info.Hard.GetCommit() < last {
			t.Errorf("%v: the log ends with %d, hard state %v; entry %d was done", r, info.Last.Index, info.Hard, last)
		}
		if info.Hard.GetTerm() == 1 && info.Hard.GetCommit() != info.Last.Index {
			t.Errorf("%v: half of a write: log to %d, hard state %v", r, info.Last.Index, info.Hard)
		}
		for i := info.Trunc.Index + 1; i <= info.Last.Index; i++ {
			list, err := s.Entries(r, i, i+1, 1)
			if err != nil || !bytes.Equal(list[0].GetData(), l.data(r, i)) {
				t.Fatalf("%v: entry %d: %v", r, i, err)
			}
		}
		rd := s.Read(r, false)
		at, ok := shard.ReadApplied(rd)
		want := uint64(2)
		for k, v := range rd.Ascend([]byte{0x11}, []byte{0x12}) {
			if string(k[1:]) != fmt.Sprintf("%06d", want) || !bytes.Equal(v, l.data(r, want)) {
				t.Errorf("%v: the state has %q for entry %d", r, k, want)
			}
			want++
		}
		if err := rd.Err(); err != nil || !ok || want != at.Index+1 || at.Index > info.Last.Index || at.Index < info.Trunc.Index {
			t.Errorf("%v: state at %d (%t) has entries to %d; log %d to %d; %v",
				r, at.Index, ok, want-1, info.Trunc.Index, info.Last.Index, err)
		}
		rd.Close()
	}
}

// Power cuts at random moments under load, with and without what was not synced.
func TestCrashUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewCrashableMem()
	cfg := testConfig(disk)
	cfg.StateMemory, cfg.LogMemory = 256<<10, 512<<10
	s, _ := run(t, cfg)
	l := &load{done: make(map[shard.Replica]uint64), at: make(map[shard.Replica]uint64)}
	for id := shard.ID(1); id <= 5; id++ {
		r := shard.Replica{Shard: id, Number: 1}
		mustWrite(t, s, &shard.Write{Replica: r, Create: true, Genesis: genesis(id), Sync: true})
		l.done[r], l.at[r] = 1, 1
	}
	type cut struct {
		fsys *vfs.MemFS
		done map[shard.Replica]uint64
	}
	var cuts []cut
	for range 400 {
		l.step(t, s, shard.Replica{Shard: shard.ID(1 + random.IntN(5)), Number: 1}, random)
		if random.IntN(40) > 0 {
			continue
		}
		c := cut{done: make(map[shard.Replica]uint64)}
		l.mu.Lock()
		for r, last := range l.done {
			c.done[r] = last
		}
		l.mu.Unlock()
		percent := []int{0, 30, 90}[random.IntN(3)]
		c.fsys = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: random})
		cuts = append(cuts, c)
	}
	for _, c := range cuts {
		l.check(t, c.fsys, c.done)
	}
}

// What was staged before a crash, or an end in good order, is not fetched again, but for the table that was being written.
func TestStagingResumes(t *testing.T) {
	source, target := shard.Replica{Shard: 1, Number: 1}, shard.Replica{Shard: 1, Number: 2}
	from, _ := run(t, testConfig(vfs.NewMem()))
	mustWrite(t, from, &shard.Write{Replica: source, Create: true, Genesis: genesis(1), Sync: true})
	b := from.Begin(source)
	const keys = 3000
	for i := range keys {
		b.Set(fmt.Appendf(nil, "\x11%06d", i), bytes.Repeat([]byte{byte(i)}, 10_000))
	}
	at := shard.Place{Index: 8, Term: 3}
	shard.WriteApplied(b, at)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	f, err := from.Freeze(source)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	disk := vfs.NewCrashableMem()
	s, _ := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: target, Create: true, Sync: true})
	put := func(s *Store, until string) (st shard.Staging, bytes int) {
		st, err := s.Stage(target, at)
		if err != nil {
			t.Fatal(err)
		}
		for {
			key, done := st.From()
			if done || until != "" && string(key) > until {
				return st, bytes
			}
			c, err := f.Chunk(key, 500_000)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range c.Values {
				bytes += len(v)
			}
			if err := st.Put(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(s, "\x11001800") // of 30 MB 18: one table of 16 MB is complete
	s, stop := run(t, testConfig(crashed(disk)))
	if _, n := put(s, "\x11002500"); n > 11_000_000 {
		t.Errorf("%d bytes were fetched again after a crash", n)
	}
	stop()
	s, _ = run(t, testConfig(s.cfg.FS))
	st, n := put(s, "")
	if n > 15_000_000 || n < 5_000_000 {
		t.Errorf("%d bytes were fetched again after an end in good order", n)
	}
	mustWrite(t, s, &shard.Write{Replica: target, Staged: st, Hard: hard(3, 0, 8), Sync: true})
	r := s.Read(target, false)
	defer r.Close()
	n = 0
	for k, v := range r.Ascend([]byte{0x11}, []byte{0x12}) {
		if want := fmt.Sprintf("\x11%06d", n); string(k) != want || len(v) != 10_000 || v[0] != byte(n) {
			t.Fatalf("%q in place of %q", k, want)
		}
		n++
	}
	if got, _ := shard.ReadApplied(r); n != keys || got != at || r.Err() != nil {
		t.Errorf("%d keys at %v, %v", n, got, r.Err())
	}
	if list, err := s.fs.List("/node/" + stagingName); err != nil || len(list) > 0 {
		t.Errorf("staging still has %q, %v", list, err)
	}
}

// A frozen state that nobody reads makes room for another one.
func TestFrozenIdle(t *testing.T) {
	s, _ := run(t, testConfig(vfs.NewMem()))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	var all []shard.Frozen
	for range s.cfg.Frozen {
		f, err := s.Freeze(one)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		all = append(all, f)
	}
	if _, err := s.Freeze(one); !errors.Is(err, shard.ErrBusy) {
		t.Fatal(err)
	}
	old := all[0].(*frozen)
	old.used = old.used.Add(-2 * frozenIdle)
	f, err := s.Freeze(one)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := old.Chunk(nil, 100); err == nil {
		t.Error("a frozen state that was given up is read")
	}
	if _, err := f.Chunk(nil, 100); err != nil {
		t.Error(err)
	}
}
