package store

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Metrics is how a store stands.
type Metrics struct {
	// Bytes written since Open: Pebble's log, tables and values of flushes, tables of
	// compactions, values rewritten, everything else.
	WAL, Flush, Compaction, Rewrite, Other uint64
	// Syncs of Pebble's log, and how long they took. AllSyncs has those of all files.
	Syncs    uint64
	AllSyncs uint64
	Latency  Latencies
	// Writes done, and batches that they were gathered into.
	Writes, Batches uint64
	// LogBytes is what the logs of all replicas hold.
	LogBytes uint64
	// Replicas that exist.
	Replicas int
	// Flushes of states.
	Flushes uint64
	// Stalls of writes because the disk had fallen behind, and how long in all.
	Stalls  uint64
	Stalled time.Duration
	// LogDisk and StateDisk are the databases' sizes in bytes.
	LogDisk, StateDisk uint64
	// Garbage is how much of StateDisk are values that nothing refers to.
	Garbage uint64
	// ReadOnly: the disk is nearly full.
	ReadOnly bool
}

// Metrics reads the counters.
func (s *Store) Metrics() Metrics {
	m := Metrics{
		WAL:        s.fs.counts[walFile].bytes.Load(),
		Flush:      s.fs.counts[flushFile].bytes.Load(),
		Compaction: s.fs.counts[compactionFile].bytes.Load(),
		Rewrite:    s.fs.counts[rewriteFile].bytes.Load(),
		Other:      s.fs.counts[otherFile].bytes.Load(),
		Syncs:      s.fs.counts[walFile].syncs.Load(),
		Latency:    s.fs.counts[walFile].latency.read(),
		Writes:     s.loop.writes.Load(),
		Batches:    s.loop.batches.Load(),
		Flushes:    s.flushes.count.Load(),
		Stalls:     s.stalls.count.Load(),
		Stalled:    time.Duration(s.stalls.total.Load()),
		ReadOnly:   s.space.readOnly.Load(),
	}
	for i := range s.fs.counts {
		m.AllSyncs += s.fs.counts[i].syncs.Load()
	}
	s.mu.RLock()
	m.Replicas = len(s.replicas)
	for _, r := range s.replicas {
		m.LogBytes += r.bytes.total
	}
	failed := s.err != nil
	s.mu.RUnlock()
	if !failed {
		state := s.state.Metrics()
		m.LogDisk, m.StateDisk = diskOf(s.log.Metrics()), diskOf(state)
		m.Garbage = state.BlobFiles.ValueSize - min(state.BlobFiles.ValueSize, state.BlobFiles.ReferencedValueSize)
	}
	return m
}

// diskOf returns a database's size in bytes, without what running compactions may come to.
func diskOf(m *pebble.Metrics) uint64 {
	tables, values := &m.Table.Local, &m.BlobFiles.Local
	return m.WAL.PhysicalSize + m.WAL.ObsoletePhysicalSize +
		tables.LiveSize + tables.ObsoleteSize + tables.ZombieSize +
		values.LiveSize + values.ObsoleteSize + values.ZombieSize
}

// stalls counts when Pebble holds writes up.
type stalls struct {
	count        atomic.Uint64
	began, total atomic.Int64
}

func (s *Store) stallBegin(db string) func(pebble.WriteStallBeginInfo) {
	return func(info pebble.WriteStallBeginInfo) {
		s.stalls.count.Add(1)
		s.stalls.began.Store(time.Now().UnixNano())
		s.cfg.Logger.Warn("writes stall: the disk is behind", "db", db, "reason", info.Reason)
	}
}

func (s *Store) stallEnd() {
	if began := s.stalls.began.Swap(0); began != 0 {
		s.stalls.total.Add(time.Now().UnixNano() - began)
	}
}
