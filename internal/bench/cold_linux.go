package bench

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// dontNeed is POSIX_FADV_DONTNEED.
const dontNeed = 4

// dropCache lets the system forget what it keeps in memory of a file, which has to be on disk.
func dropCache(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		return fmt.Errorf("fadvise %s: %w", f.Name(), errno)
	}
	return nil
}

// taken is what a file takes on the disk, with room that is reserved and not written yet.
func taken(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Blocks) * 512
	}
	return uint64(info.Size())
}
