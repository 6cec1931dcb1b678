package store

import (
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A sync of a file that has grown also writes what the file system notes about it, and takes half
// as long again. So a write-ahead log is filled with zeros, a piece ahead of what is written, until
// Pebble has old files that it can use again. Pebble's log ends at zeros, as it does at what an
// older log left.
const (
	leastRoom = 256 << 10
	mostRoom  = 4 << 20
	// roomEvery is how long a piece has to last for there to be another one: where much is
	// written, a sync covers much, and writing twice would cost more than it saves.
	roomEvery = 500 * time.Millisecond
)

// A roomyFile is a write-ahead log with room. Writes are serial.
type roomyFile struct {
	vfs.File
	at, size int64     // where the next write goes, and how long the file is
	next     int64     // beyond it, more room is thought about
	thought  time.Time // when it was
}

func newRoomy(f vfs.File) vfs.File {
	r := &roomyFile{File: f}
	if info, err := f.Stat(); err == nil {
		r.size = info.Size() // it was a log before
	}
	return r
}

func (f *roomyFile) Write(p []byte) (int, error) {
	if end := f.at + int64(len(p)); end > f.size && end > f.next {
		f.fill(end)
	}
	n, err := f.File.Write(p)
	f.at += int64(n)
	f.size = max(f.size, f.at)
	return n, err
}

// fill makes room for what is written up to end, and more. Where that fails there is none: the
// write that follows tells.
func (f *roomyFile) fill(end int64) {
	room := min(max(end, leastRoom), mostRoom)
	f.next = end + room
	last := f.thought
	if f.thought = time.Now(); f.thought.Sub(last) < roomEvery {
		return
	}
	zeros := make([]byte, leastRoom)
	for at := f.at; at < end+room; at += int64(len(zeros)) {
		if _, err := f.File.WriteAt(zeros, at); err != nil {
			f.next = math.MaxInt64
			return
		}
		f.size = at + int64(len(zeros))
	}
}
