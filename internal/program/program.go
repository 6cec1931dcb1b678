// Package program owns how tests and tools get the program that they run as processes.
package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const path = "github.com/meridian-relay/meridian/cmd/meridian"

// Build builds the program into a file; args are for the build. The error has what Go said.
func Build(to string, args ...string) error {
	build := exec.Command("go", append(append([]string{"build", "-o", to}, args...), path)...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	return nil
}

// Main is for a TestMain: it builds the program, says in binary where it is, and returns run's exit
// code. The file is gone when Main returns.
func Main(run func() int, binary *string, args ...string) int {
	dir, err := os.MkdirTemp("", "meridian")
	if err == nil {
		defer os.RemoveAll(dir)
		*binary = filepath.Join(dir, "meridian")
		err = Build(*binary, args...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}
