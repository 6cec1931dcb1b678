//go:build !race

package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-relay/meridian/core/shard"
)

// What channels had on disk goes once it is deleted, though nothing is written any more that
// would bring compactions about.
func TestDeletedChannelsLeaveNothing(t *testing.T) {
	cfg := testConfig(vfs.NewMem())
	cfg.StateMemory, cfg.LogMemory, cfg.RewriteAge = 1<<20, 1<<20, time.Millisecond
	s, _ := run(t, cfg)
	p := newPublisher(t, s, 1<<40)
	p.channels = 1000
	for range 1600 { // 40 MB
		p.index++
		p.apply()
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	before := s.Metrics().StateDisk
	for c := range p.channels {
		b := s.Begin(p.r)
		for seq := range p.n/p.channels + 1 {
			b.Delete(messageKey(nil, c, seq))
		}
		b.Delete(fmt.Appendf(nil, "\x10chat:room-%04d", c))
		p.index++
		shard.WriteApplied(b, shard.Place{Index: p.index, Term: 1})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	var after uint64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if after = s.Metrics().StateDisk; after < before/1000 {
			break
		}
	}
	t.Logf("%d bytes of state before, %d after", before, after)
	if after >= before/1000 {
		t.Errorf("%d of %d bytes of state stay when all channels are gone, want none", after, before)
	}
}
