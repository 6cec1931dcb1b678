//go:build !linux

package bench

import (
	"errors"
	"io/fs"
	"os"
)

func dropCache(*os.File) error { return errors.New("only Linux lets a file's cache be dropped") }

// taken is what a file takes on the disk.
func taken(info fs.FileInfo) uint64 { return uint64(info.Size()) }
