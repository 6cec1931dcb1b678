package store

import (
	"bytes"
	"testing"
)

// What is lent stays as it is until it is given back, and is then used again.
func TestArenaUsesBlocksAgain(t *testing.T) {
	pool := &blocks{}
	a := arena{pool: pool}
	fill := func(r byte) (list [][]byte) {
		for i := range 300 {
			list = append(list, a.copy(bytes.Repeat([]byte{r + byte(i)}, 1000)))
		}
		return list
	}
	first := fill(0)
	for i, b := range first {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 1000)) {
			t.Fatalf("copy %d changed while it was lent", i)
		}
	}
	held := make(map[*block]bool)
	for _, b := range a.used {
		held[b] = true
	}
	if len(held) < 3 {
		t.Fatalf("300 KB stand in %d blocks; want more", len(held))
	}
	a.reset()
	if a.free != nil || len(a.used) != 0 {
		t.Error("a reader that lends nothing holds memory")
	}
	other := arena{pool: pool} // somebody else may have them now
	for range 300 {
		other.copy(make([]byte, 1000))
	}
	for i, b := range fill(100) {
		if b[0] != 100+byte(i) || b[999] != 100+byte(i) {
			t.Fatalf("copy %d changed while it was lent", i)
		}
	}
	for _, b := range a.used {
		for _, o := range other.used {
			if b == o {
				t.Fatal("a block was lent twice")
			}
		}
	}
}

// To lend what a history reads costs no memory that has to be collected.
func TestArenaAllocatesNothing(t *testing.T) {
	a := arena{pool: &blocks{}}
	body := make([]byte, 1000)
	turn := func() {
		for range 128 {
			a.copy(body)
		}
		a.reset()
	}
	turn()
	turn()
	if n := testing.AllocsPerRun(200, turn); n > 0.5 { // the collector may take a block
		t.Errorf("%v allocations for 128 KB", n)
	}
}
