package store

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

const walCategory = vfs.DiskWriteCategory("pebble-wal")

// A log has room ahead of what is written, is not filled again in haste, and holds what was written.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		fs := &countedFS{FS: disk}
		f, err := fs.Create("1.log", walCategory)
		if err != nil {
			t.Fatal(err)
		}
		size := func() int64 {
			info, err := disk.Stat("1.log")
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		var want []byte
		write := func(n int) {
			p := bytes.Repeat([]byte{byte(len(want)%250 + 1)}, n)
			want = append(want, p...)
			if _, err := f.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		write(1000)
		first := size()
		if first < leastRoom {
			t.Fatalf("%d bytes after the first write; want %d at least", first, leastRoom)
		}
		for range 100 {
			write(1000)
		}
		if got := size(); got != first {
			t.Fatalf("%d bytes after writes that have room; want %d", got, first)
		}
		write(int(first)) // at the same moment
		if got := size(); got != int64(len(want)) {
			t.Fatalf("%d bytes where much is written at once; want %d", got, len(want))
		}
		time.Sleep(roomEvery)
		write(3 * leastRoom)
		if got := size(); got < int64(len(want))+leastRoom {
			t.Fatalf("%d bytes after a while, of them %d written; want more room", got, len(want))
		}
		have := content(t, disk, "1.log")
		if !bytes.Equal(have[:len(want)], want) || len(bytes.Trim(have[len(want):], "\x00")) > 0 {
			t.Fatal("the file is not what was written, and zeros")
		}

		// A log that is used again has room.
		if f, err = fs.ReuseForWrite("1.log", "2.log", walCategory); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("again")); err != nil {
			t.Fatal(err)
		}
		if again := content(t, disk, "2.log"); len(again) != len(have) || !bytes.Equal(again[5:], have[5:]) {
			t.Fatal("what stood in a file that is used again was changed")
		}
	})
}

// Where there is no room, what is to be written is written all the same.
func TestNoRoom(t *testing.T) {
	disk := vfs.NewMem()
	full := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			return errors.New("no room")
		}
		return nil
	}))
	f, err := (&countedFS{FS: full}).Create("1.log", walCategory)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Write([]byte("record")); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(content(t, disk, "1.log")); got != "recordrecordrecord" {
		t.Fatalf("the file has %q", got)
	}
}
