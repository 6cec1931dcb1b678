package store

import (
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
)

// pebbleFormat is the version of Pebble's files: its log's records know what was synced after
// them, so that damage is told from a torn end, and values may stand apart from their keys.
const pebbleFormat = pebble.FormatValueSeparation

// Sizes of the two databases.
const (
	// logMemtable bounds what a restart reads again, and how long an entry can die in memory.
	logMemtable = 128 << 20
	// separateFrom is the size from which on a value of a state stands apart: messages, and
	// not heads or producers.
	separateFrom = 256
	// stateBlock is what is read at once: history is read block by block.
	stateBlock = 32 << 10
)

func (s *Store) common(events pebble.EventListener) *pebble.Options {
	o := &pebble.Options{
		FS:                 s.fs,
		Cache:              s.cache,
		FormatMajorVersion: pebbleFormat,
		Logger:             (*logger)(s),
		MaxOpenFiles:       1024,
		// A sync of a table in steps keeps its end from holding up the log's syncs.
		BytesPerSync: 512 << 10,
		CompactionConcurrencyRange: func() (int, int) {
			return 1, max(2, min(4, runtime.GOMAXPROCS(0)))
		},
		L0CompactionThreshold:     2,
		L0StopWritesThreshold:     32,
		FlushDelayDeleteRange:     0,
		TargetByteDeletionRate:    128 << 20,
		NumPrevManifest:           0,
		LBaseMaxBytes:             int64(s.cfg.StateMemory),
		L0CompactionFileThreshold: 500,
	}
	o.Experimental.FileCacheShards = 2
	// Reads say nothing about what is worth rewriting: most messages are read once, from memory.
	o.Experimental.ReadSamplingMultiplier = -1
	o.EventListener = &events
	return o
}

func (s *Store) logOptions() *pebble.Options {
	o := s.common(s.logEvents())
	o.MemTableSize = s.cfg.LogMemory
	o.MemTableStopWritesThreshold = 3
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return o
}

func (s *Store) stateOptions() *pebble.Options {
	o := s.common(s.stateEvents())
	o.DisableWAL = true
	// Of a file that holds the messages of many channels no more is read ahead than is likely to
	// be wanted: not as much as the system would.
	o.Local.ReadaheadConfig = objstorageprovider.NewReadaheadConfig()
	o.Local.ReadaheadConfig.Set(objstorageprovider.FadviseSequential, objstorageprovider.SysReadahead)
	o.MemTableSize = s.cfg.StateMemory
	o.MemTableStopWritesThreshold = 3
	// A table that waits in the queue of memtables is durable by the write-ahead log alone.
	o.Experimental.DisableIngestAsFlushable = func() bool { return true }
	o.Experimental.EnableDeleteOnlyCompactionExcises = func() bool { return true }
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:     true,
			MinimumSize: separateFrom,
			// Messages of one flush die together, so their file is dropped as a whole.
			MaxBlobReferenceDepth: 1 << 12,
			RewriteMinimumAge:     s.cfg.RewriteAge,
			TargetGarbageRatio:    0.25,
		}
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range o.Levels {
		o.Levels[i].BlockSize = stateBlock
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

const defaultRewriteAge = time.Minute
