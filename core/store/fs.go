package store

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A countedFS counts what is written and synced.
type countedFS struct {
	vfs.FS
	counts [kinds]fileCounts
}

// What files are for.
const (
	walFile = iota
	flushFile
	compactionFile
	rewriteFile
	otherFile
	kinds
)

type fileCounts struct {
	bytes, syncs atomic.Uint64
	latency      histogram
}

// fileKind tells by Pebble's category what a file is for.
func fileKind(c vfs.DiskWriteCategory) int {
	switch c {
	case "pebble-wal":
		return walFile
	case "pebble-memtable-flush":
		return flushFile
	case "pebble-compaction":
		return compactionFile
	case "pebble-blob-file-rewrite":
		return rewriteFile
	}
	return otherFile
}

func (f *countedFS) wrap(file vfs.File, err error, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	counted := &countedFile{File: file, counts: &f.counts[fileKind(c)]}
	if counted.counts == &f.counts[walFile] {
		return newRoomy(&logFile{countedFile: counted}), nil
	}
	return counted, nil
}

func (f *countedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return f.wrap(file, err, c)
}

func (f *countedFS) ReuseForWrite(from, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, name, c)
	return f.wrap(file, err, c)
}

func (f *countedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.wrap(file, err, c)
}

// GetDiskUsage fails softly: Pebble takes other errors for a failing disk.
func (f *countedFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := f.FS.GetDiskUsage(path)
	if err != nil {
		return u, vfs.ErrUnsupported
	}
	return u, nil
}

func (f *countedFS) Unwrap() vfs.FS { return f.FS }

type countedFile struct {
	vfs.File
	counts *fileCounts
}

func (f *countedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.counts.bytes.Add(uint64(n))
	return n, err
}

func (f *countedFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	f.counts.bytes.Add(uint64(n))
	return n, err
}

func (f *countedFile) Sync() error {
	defer f.synced(time.Now())
	return f.File.Sync()
}

func (f *countedFile) SyncData() error {
	defer f.synced(time.Now())
	return f.File.SyncData()
}

func (f *countedFile) SyncTo(length int64) (bool, error) {
	began := time.Now()
	full, err := f.File.SyncTo(length)
	if full {
		f.synced(began)
	}
	return full, err
}

func (f *countedFile) synced(began time.Time) {
	f.counts.syncs.Add(1)
	f.counts.latency.add(time.Since(began))
}

// reserveBytes is how much is reserved at once for a file of Pebble's log.
const reserveBytes = 16 << 20

// A logFile is a file of Pebble's log. Pebble reserves what the largest memtable could need for
// each of the five that it keeps and writes again, but most end at a third of that, when what they
// hold was truncated (see flushDue): that room would never be used.
type logFile struct {
	*countedFile
	written, reserved int64
}

// Preallocate does nothing: Write reserves.
func (f *logFile) Preallocate(int64, int64) error { return nil }

func (f *logFile) Write(p []byte) (int, error) {
	for f.reserved < f.written+int64(len(p)) {
		// Without it, writing is slower and not less safe.
		_ = f.File.Preallocate(f.reserved, reserveBytes)
		f.reserved += reserveBytes
	}
	n, err := f.countedFile.Write(p)
	f.written += int64(n)
	return n, err
}

// Latencies is how many took less than 128 µs, 256 µs, … each bucket twice the one before; the
// last one has the rest.
type Latencies [16]uint64

type histogram [16]atomic.Uint64

func (h *histogram) add(d time.Duration) {
	i := 0
	for bound := 128 * time.Microsecond; i < len(h)-1 && d >= bound; bound *= 2 {
		i++
	}
	h[i].Add(1)
}

func (h *histogram) read() (l Latencies) {
	for i := range h {
		l[i] = h[i].Load()
	}
	return l
}
