package fault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "meridian-fault")
	if err == nil {
		binary = filepath.Join(dir, "meridian")
		args := []string{"build", "-o", binary}
		if os.Getenv("MERIDIAN_RACE") != "" { // the processes look for races too, several times slower
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, "github.com/meridian-relay/meridian/cmd/meridian")...)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
