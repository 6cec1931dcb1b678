package meter

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// A Usage is what a process has used, or uses now.
type Usage struct {
	CPU        time.Duration // user and system, since the start
	RSS        int64         // bytes resident
	Heap       int64         // bytes of live and not yet swept objects
	Stacks     int64         // bytes of goroutine stacks in use
	Goroutines int
	Packets    uint64 // sent since the start
	Sends      uint64 // system calls for them
}

// Take measures this process; with collect after two collections and with free memory
// returned to the system, so that Heap is what is reachable and RSS follows. c may be nil.
func Take(c *Conn, collect bool) (Usage, error) {
	if collect {
		runtime.GC() // the second one frees what finalizers and pools still held
		debug.FreeOSMemory()
	}
	var u Usage
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, fmt.Errorf("getrusage: %w", err)
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	rss, err := resident()
	if err != nil {
		return u, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.RSS, u.Heap, u.Stacks = rss, int64(m.HeapAlloc), int64(m.StackInuse)
	u.Goroutines = runtime.NumGoroutine()
	if c != nil {
		u.Packets, u.Sends = c.Packets()
	}
	return u, nil
}

func resident() (int64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w; the benchmark runs on Linux", err)
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, fmt.Errorf("resident memory: /proc/self/statm holds %q", b)
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}
