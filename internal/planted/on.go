//go:build planted

package planted

import (
	"fmt"
	"os"
	"sync/atomic"
)

// Possible says whether bugs can be planted in this build.
const Possible = true

var planted atomic.Int64

// The program itself, built with the tag, takes the name of a bug from PLANTED: tests that run it
// have no other way.
func init() {
	if name := os.Getenv("PLANTED"); !Plant(name) {
		panic(fmt.Sprintf("PLANTED=%q is no bug; bugs: %v", name, All()))
	}
}

// On reports whether b is planted.
func On(b Bug) bool { return planted.Load() == int64(b) }

// Plant plants the bug with a name, and no other; empty: none. False: no such bug.
func Plant(name string) bool {
	b, ok := names[name]
	planted.Store(int64(b))
	return ok || name == ""
}
