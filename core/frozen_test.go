package core

import (
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
)

// ice has states that only know whether they were closed.
type ice struct {
	shard.States
	closed map[int]bool
	made   int
}

func (i *ice) Freeze(shard.Replica) (shard.Frozen, error) {
	i.made++
	return &block{of: i, n: i.made}, nil
}

type block struct {
	shard.Frozen
	of *ice
	n  int
}

func (b *block) At() shard.Place              { return shard.Place{} }
func (b *block) Descriptor() shard.Descriptor { return shard.Descriptor{} }
func (b *block) Close()                       { b.of.closed[b.n] = true }

// Two members fetch states of one replica: the end of one fetch ends its own state, once that is
// not read any more, and not the other's.
func TestFrozenEndsForOne(t *testing.T) {
	states := &ice{closed: make(map[int]bool)}
	f := newFreezer(states)
	r := shard.Replica{Shard: 1, Number: 1}
	var names [2]uint64
	for i := range names {
		names[i], _, _, _ = f.freeze(r)
		f.told(names[i], shard.Number(i+2))
	}
	read, ok := f.open(names[0])
	if !ok {
		t.Fatal("a frozen state is not lent")
	}
	f.ended(shard.Replica{Shard: 2, Number: 1}, 2)
	f.ended(r, 2)
	if states.closed[1] {
		t.Error("a state was closed while it was read")
	}
	read.Close()
	if !states.closed[1] {
		t.Error("the state of the fetch that ended is kept")
	}
	if _, ok := f.open(names[1]); !ok || states.closed[2] {
		t.Error("the other member's state is gone")
	}
}
