//go:build !race

package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// There is a cache though the memtables, which Pebble counts as part of it, are larger.
func TestCacheBesideMemtables(t *testing.T) {
	cfg := testConfig(vfs.NewMem())
	cfg.Cache, cfg.LogMemory, cfg.StateMemory = 2<<20, 4<<20, 4<<20
	s, _ := run(t, cfg)
	p := newPublisher(t, s, 1<<40)
	// Memtables come to be as large as they may, and one of each stays to be used again.
	for range 3 {
		for range 160 {
			done := make(chan struct{})
			p.entry(func() { close(done) })
			<-done
			p.apply()
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := s.log.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (misses int64) {
		before := s.cache.Metrics().Misses
		r := s.Read(p.r, false)
		defer r.Close()
		for seq := range uint64(20) {
			if _, ok := r.Get(messageKey(nil, 3, seq)); !ok {
				t.Fatalf("message %d is not there: %v", seq, r.Err())
			}
		}
		return s.cache.Metrics().Misses - before
	}
	if first, again := read(), read(); again > 0 {
		t.Errorf("%d blocks were read, and %d of them again; the cache has %d bytes", first, again, s.cache.Metrics().Size)
	}
}
