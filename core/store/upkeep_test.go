package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-relay/meridian/core/shard"
)

// What changed while a flush waited for its turn is flushed too, and what rests is not flushed
// again and again.
func TestFlushesOfWhatRests(t *testing.T) {
	s := &Store{cfg: Config{FlushLog: 1 << 30}}
	due := func(what string, want bool) {
		t.Helper()
		if got := s.due(); got != want {
			t.Errorf("%s: due %t, want %t", what, got, want)
		}
	}
	due("at first", false)
	s.flushes.changed()
	due("after a change", true)
	s.flushes.changed() // behind the memory that the flush takes
	s.flushes.begin()
	due("after a flush that may have missed a change", true)
	s.flushes.begin()
	due("at rest", false)
	s.flushes.begin() // somebody else's
	due("at rest", false)
	s.flushes.changed()
	due("after another change", true)
}

// A state that rests is durable after FlushAfter, without a write that fills its memory, and then
// it causes no flush.
func TestWhatRestsIsFlushed(t *testing.T) {
	disk := vfs.NewCrashableMem()
	cfg := testConfig(disk)
	cfg.FlushAfter, cfg.Watch = time.Millisecond, time.Millisecond
	flushed := make(chan struct{}, 1<<10)
	cfg.Flushed = func() { flushed <- struct{}{} }
	s, _ := run(t, cfg)
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	b := s.Begin(one)
	b.Set([]byte("\x11k"), []byte("v"))
	shard.WriteApplied(b, shard.Place{Index: 1, Term: 1})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	durable := func() bool {
		after, stop := run(t, testConfig(crashed(disk)))
		defer stop()
		r := after.Read(one, false)
		defer r.Close()
		_, ok := r.Get([]byte("\x11k"))
		return ok
	}
	for late := time.After(10 * time.Second); !durable(); {
		select {
		case <-flushed:
		case <-late:
			t.Fatal("it is not durable after 10 s")
		}
	}
	for quiet := false; !quiet; {
		before := s.Metrics().Flushes
		select {
		case <-flushed:
		case <-time.After(100 * cfg.FlushAfter):
			quiet = s.Metrics().Flushes == before
		}
		if before > 10 {
			t.Fatalf("%d flushes of a state that rests", before)
		}
	}
}
