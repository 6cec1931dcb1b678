package shardtest

import (
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/planted"
)

// synced is the store in memory as the suite wants it.
type synced struct{ *Store }

func (s synced) Write(w *shard.Write) error {
	if err := s.Store.Write(w); err != nil || !w.Sync {
		return err
	}
	return s.Sync()
}

func (s synced) Crash() (Harness, error) {
	n, err := s.Store.Crash(nil)
	return synced{n}, err
}

func (synced) Close() {}

func TestMemory(t *testing.T) {
	TestStore(t, func(*testing.T) Harness { return synced{New()} })
}

// TestDamage: a record that cannot be read ends the store, unless it is the last one.
func TestDamage(t *testing.T) {
	for index, want := range map[uint64]error{4: ErrDamaged, 9: nil, 1: nil} {
		s := New()
		for _, w := range []*shard.Write{
			{Replica: one, Create: true, Genesis: genesis(one)}, {Replica: one, Entries: entries(2, 9, 2)},
		} {
			if err := s.Write(w); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		s.Damage(one, index)
		if _, err := s.Crash(nil); !errors.Is(err, want) && !planted.On(planted.TruncateAtDamage) {
			t.Errorf("entry %d damaged: %v, want %v", index, err, want)
		}
	}
}

// TestPrefix: of what was not synced, a crash leaves a prefix.
func TestPrefix(t *testing.T) {
	s := New()
	for _, w := range []*shard.Write{
		{Replica: one, Create: true, Genesis: genesis(one)},
		{Replica: one, Entries: entries(2, 3, 2)}, {Replica: one, Entries: entries(4, 4, 2)},
	} {
		if err := s.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	for kept, want := range []uint64{0, 1, 3, 4} {
		n, err := s.Crash(func(unsynced int) (int, bool) {
			if unsynced != 3 {
				t.Errorf("%d writes are not synced", unsynced)
			}
			return kept, false
		})
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := n.Info(one); info.Last.Index != want {
			t.Errorf("%d writes kept: log to %d, want %d", kept, info.Last.Index, want)
		}
	}
	s.Fail(errors.New("no more"))
	if s.Write(&shard.Write{Replica: one}) == nil || s.Sync() == nil || s.Flush() == nil || s.Begin(one).Commit() == nil {
		t.Error("a disk that failed takes writes")
	}
}
