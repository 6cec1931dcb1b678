package store

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// An FS is where a folder is: Disk, or what a test has in memory.
type FS = vfs.FS

// Disk returns the operating system's file system.
func Disk() FS { return vfs.Default }

// maxFile bounds what ReadFile reads, in bytes.
const maxFile = 16 << 20

// ReadFile returns a small file's content.
func ReadFile(fsys FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return b, errors.Join(err, f.Close())
}

// ReplaceFile replaces a file at once and durably: a crash leaves the old or the new one.
func ReplaceFile(fsys FS, path string, content []byte) error {
	if err := writeFile(fsys, path+".new", content); err != nil {
		return err
	}
	if err := fsys.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(fsys, fsys.PathDir(path))
}
