package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A reservingFS notes how far files are reserved.
type reservingFS struct {
	vfs.FS
	end int64
}

type reservingFile struct {
	vfs.File
	fs *reservingFS
}

func (f *reservingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return &reservingFile{file, f}, err
}

func (f *reservingFile) Preallocate(offset, length int64) error {
	if offset > f.fs.end {
		panic("a hole")
	}
	f.fs.end = max(f.fs.end, offset+length)
	return nil
}

// A file of the log has room for what is written, and not for all that might be.
func TestLogReserves(t *testing.T) {
	below := &reservingFS{FS: vfs.NewMem()}
	fsys := &countedFS{FS: below}
	for c, want := range map[vfs.DiskWriteCategory]int64{"pebble-wal": 3 * reserveBytes, "pebble-memtable-flush": 1 << 40} {
		below.end = 0
		f, err := fsys.Create(string(c), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Preallocate(0, 1<<40); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := f.Write(make([]byte, reserveBytes/2)); err != nil {
				t.Fatal(err)
			}
		}
		if below.end != want {
			t.Errorf("%s: reserved to %d, want %d", c, below.end, want)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
