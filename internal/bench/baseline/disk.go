package baseline

import (
	"context"
	"fmt"
	"os"
	"time"
)

// A Disk is a file of records that are written one by one, each synced before the next.
type Disk struct {
	file *os.File
	size int
	room int64
	at   int64
}

// room is how far the file is filled with zeros before: a sync then has data alone to write.
const room = 64 << 20

// NewDisk makes a file in dir for records of size bytes. It has no name any more.
func NewDisk(dir string, size int) (*Disk, error) {
	f, err := os.CreateTemp(dir, "records")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for range room / len(zeros) {
		if _, err := f.Write(zeros); err != nil {
			return nil, fmt.Errorf("fill %s: %w", f.Name(), err)
		}
	}
	return &Disk{file: f, size: size, room: room / int64(size) * int64(size)}, f.Sync()
}

// Run writes records until ctx ends, and returns how long each took. It begins anew at the end of
// the room.
func (d *Disk) Run(ctx context.Context) ([]time.Duration, error) {
	record := make([]byte, d.size)
	var took []time.Duration
	for n := byte(0); ctx.Err() == nil; n++ {
		record[0] = n
		began := time.Now()
		if _, err := d.file.WriteAt(record, d.at); err != nil {
			return took, err
		}
		if err := datasync(d.file); err != nil {
			return took, fmt.Errorf("fdatasync: %w", err)
		}
		took = append(took, time.Since(began))
		d.at = (d.at + int64(d.size)) % d.room
	}
	return took, nil
}

// Close closes the file, which frees its room.
func (d *Disk) Close() error { return d.file.Close() }
