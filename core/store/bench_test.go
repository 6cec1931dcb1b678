//go:build !race

package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// BenchmarkCommit publishes messages of 1 KB, 25 an entry, with real syncs and eight entries on
// their way: written once to the log and applied to a state that has no log of its own (Two), and
// for comparison as one database with one log, where a payload is written twice (One).
func BenchmarkCommit(b *testing.B) {
	b.Run("Two", func(b *testing.B) {
		cfg := Config{Dir: b.TempDir(), Fleet: "f", Node: "n", Ballast: -1}
		s, _ := run(b, cfg)
		p := newPublisher(b, s, 1<<40)
		benchmark(b, s, p, func(e *raftpb.Entry, done func()) {
			s.Submit(&shard.Write{Replica: p.r, Entries: []*raftpb.Entry{e}, Sync: true}, done)
		})
	})
	b.Run("One", func(b *testing.B) {
		cfg := Config{Dir: b.TempDir(), Fleet: "f", Node: "n", Ballast: -1}
		s, _ := run(b, cfg)
		p := newPublisher(b, s, 1<<40)
		syncs := make(chan func(), 64)
		defer close(syncs)
		go func() {
			for wait := range syncs {
				wait()
			}
		}()
		benchmark(b, s, p, func(e *raftpb.Entry, done func()) {
			batch := s.log.NewBatch()
			batch.Set(appendEntryKey(nil, p.r, e.GetIndex()), e.GetData(), nil)
			for i := range uint64(perEntry) {
				key := messageKey(nil, i, e.GetIndex())
				batch.Set(append(appendReplica(nil, shard.Replica{Shard: 9}), key...), e.GetData()[i*payload:(i+1)*payload], nil)
			}
			if err := s.log.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
				b.Error(err)
			}
			syncs <- func() {
				batch.SyncWait()
				batch.Close()
				done()
			}
		})
	})
}

func benchmark(b *testing.B, s *Store, p *publisher, submit func(*raftpb.Entry, func())) {
	slots := make(chan time.Time, 8)
	var worst time.Duration
	b.SetBytes(perEntry * payload)
	b.ResetTimer()
	for range b.N {
		p.index++
		e := entry(p.index, 1, "")
		e.Data = make([]byte, perEntry*payload)
		p.random.Read(e.Data)
		slots <- time.Now()
		submit(e, func() { worst = max(worst, time.Since(<-slots)) })
		if b.Name()[len(b.Name())-3:] == "Two" {
			p.applyEntry(e.Data)
		}
	}
	for len(slots) > 0 {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	m := s.Metrics()
	bytes := float64(b.N * perEntry * payload)
	b.ReportMetric(float64(b.N*perEntry)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(m.WAL+m.Flush+m.Compaction+m.Rewrite+m.Other)/bytes, "written/byte")
	b.ReportMetric(float64(b.N)/float64(max(m.Syncs, 1)), "entries/sync")
	b.ReportMetric(float64(worst.Microseconds())/1000, "ms-worst")
}

// applyEntry applies an entry's messages.
func (p *publisher) applyEntry(data []byte) {
	b := p.s.Begin(p.r)
	defer b.Close()
	var key []byte
	for i := range uint64(perEntry) {
		b.Set(messageKey(key, i, p.index), data[i*payload:(i+1)*payload])
	}
	shard.WriteApplied(b, shard.Place{Index: p.index, Term: 1})
	if err := b.Commit(); err != nil {
		p.Fatal(err)
	}
}

// BenchmarkHistory reads a channel's messages, 10,000 of 1 KB, from tables that nobody read
// before.
func BenchmarkHistory(b *testing.B) {
	cfg := Config{Dir: b.TempDir(), Fleet: "f", Node: "n", Ballast: -1, Cache: 1 << 20}
	s, _ := run(b, cfg)
	p := newPublisher(b, s, 1<<40)
	p.channels = 8
	for range 80_000 / perEntry {
		p.index++
		p.apply()
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(10_000 * payload)
	b.ResetTimer()
	for range b.N {
		r := s.Read(p.r, false)
		n := 0
		for _, v := range r.Ascend(messageKey(nil, 3, 0), messageKey(nil, 4, 0)) {
			n += len(v)
		}
		r.Close()
		if n != 10_000*payload {
			b.Fatalf("%d bytes", n)
		}
	}
}

// BenchmarkGet reads one key of a batch's base.
func BenchmarkGet(b *testing.B) {
	cfg := testConfig(vfs.NewMem())
	cfg.StateMemory = 64 << 20
	s, _ := run(b, cfg)
	p := newPublisher(b, s, 1<<40)
	for range 100 {
		p.index++
		p.apply()
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Run("Reader", func(b *testing.B) {
		for range b.N {
			r := s.Read(p.r, false)
			if _, ok := r.Get([]byte("\x10chat:room-0003")); !ok {
				b.Fatal("nothing")
			}
			r.Close()
		}
	})
	b.Run("Again", func(b *testing.B) {
		r := s.Read(p.r, false)
		defer r.Close()
		for range b.N {
			if _, ok := r.Get([]byte("\x10chat:room-0003")); !ok {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("DB", func(b *testing.B) {
		key := append(appendReplica(nil, p.r), "\x10chat:room-0003"...)
		for range b.N {
			_, c, err := s.state.Get(key)
			if err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	})
}
