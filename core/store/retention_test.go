//go:build !race

// With the race detector Pebble checks its own invariants, and is forty times slower.

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// A publisher writes as a node with one shard does: 25 messages an entry, each with a key of
// its own and its channel's head, and trims those beyond keep.
type publisher struct {
	testing.TB
	s        *Store
	r        shard.Replica
	channels uint64
	keep     uint64
	random   *rand.ChaCha8 // payloads cannot be compressed
	index, n uint64
	bytes    uint64
	trunc    uint64
}

func newPublisher(t testing.TB, s *Store, keep uint64) *publisher {
	p := &publisher{TB: t, s: s, r: shard.Replica{Shard: 1, Number: 1}, channels: 64, keep: keep, index: 1, trunc: 1}
	p.random = rand.NewChaCha8([32]byte{1})
	mustWrite(t, s, &shard.Write{Replica: p.r, Create: true, Genesis: genesis(1), Sync: true})
	return p
}

const (
	perEntry = 25
	payload  = 1000
)

func messageKey(b []byte, channel, seq uint64) []byte {
	b = fmt.Appendf(append(b[:0], 0x11), "chat:room-%04d\x00", channel)
	b = binary.BigEndian.AppendUint64(b, 1)
	return binary.BigEndian.AppendUint64(b, seq)
}

// entry makes the next entry; done is called when it is durable.
func (p *publisher) entry(done func()) {
	p.index++
	data := make([]byte, perEntry*payload)
	e := entry(p.index, 1, "")
	e.Data = data
	p.bytes += uint64(len(data))
	p.s.Submit(&shard.Write{Replica: p.r, Entries: []*raftpb.Entry{e}, Sync: true}, done)
}

// apply applies one entry.
func (p *publisher) apply() {
	b := p.s.Begin(p.r)
	defer b.Close()
	var key []byte
	for range perEntry {
		channel, seq := p.n%p.channels, p.n/p.channels
		value := make([]byte, payload)
		p.random.Read(value)
		b.Set(messageKey(key, channel, seq), value)
		if p.n >= p.keep {
			old := p.n - p.keep
			b.Delete(messageKey(key, old%p.channels, old/p.channels))
		}
		p.n++
	}
	for c := range p.channels {
		b.Set(fmt.Appendf(nil, "\x10chat:room-%04d", c), bytes.Repeat([]byte{1}, 90))
	}
	shard.WriteApplied(b, shard.Place{Index: p.index, Term: 1})
	if err := b.Commit(); err != nil {
		p.Fatal(err)
	}
}

// durable returns the last entry that a crash would leave in the state.
func (p *publisher) durable() uint64 {
	r := p.s.Read(p.r, true)
	defer r.Close()
	at, _ := shard.ReadApplied(r)
	return at.Index
}

// truncate truncates the log to what is durable, as a Host does.
func (p *publisher) truncate(index uint64) {
	p.trunc = index
	p.s.Submit(&shard.Write{Replica: p.r, Trunc: shard.Place{Index: index, Term: 1}}, func() {})
}

// Retention at a part in 250 of the size: memories, files and what is kept are all smaller by as
// much, so that flushes, compactions and dying messages meet as in a node that publishes 5 MB/s
// and keeps ten to fifteen minutes.
func TestRetention(t *testing.T) {
	total := uint64(32 << 20)
	keep := uint64(16_000)
	if testing.Short() {
		t.Skip("writes 32 MB")
	}
	cfg := testConfig(vfs.NewMem())
	cfg.StateMemory, cfg.LogMemory, cfg.RewriteAge = 256<<10, 512<<10, time.Millisecond
	cfg.Watch = 20 * time.Millisecond
	flushed := make(chan struct{}, 1)
	cfg.Flushed = func() {
		select {
		case flushed <- struct{}{}:
		default:
		}
	}
	s, _ := run(t, cfg)
	p := newPublisher(t, s, keep)
	worst := 0.0
	for p.bytes < total {
		done := make(chan struct{})
		p.entry(func() { close(done) })
		<-done
		p.apply()
		// A node publishes little while a flush runs.
		for (p.index-p.durable())*perEntry*payload > cfg.StateMemory {
			<-flushed
		}
		if at := p.durable(); at > p.trunc {
			p.truncate(at)
			if m := s.Metrics(); p.n > keep {
				worst = max(worst, float64(m.StateDisk+m.LogDisk)/float64(keep*payload))
			}
		}
	}
	m := s.Metrics()
	per := func(n uint64) float64 { return float64(n) / float64(p.bytes) }
	sum := per(m.WAL + m.Flush + m.Compaction + m.Rewrite + m.Other)
	t.Logf("%d MB: written per byte: %.2f = log %.2f + flush %.2f + compaction %.2f + rewrite %.2f + other %.2f; disk at most %.2f of what is kept (log %.1f MB); %d flushes, %d stalls (%v)",
		p.bytes>>20, sum, per(m.WAL), per(m.Flush), per(m.Compaction), per(m.Rewrite), per(m.Other), worst,
		float64(m.LogDisk)/1e6, m.Flushes, m.Stalls, m.Stalled)
	if sum > 5 {
		t.Errorf("%.2f bytes written per byte published, want 5 at most", sum)
	}
	if worst > 1.5 {
		t.Errorf("disk %.2f times what is kept, want 1.5 at most", worst)
	}
}
