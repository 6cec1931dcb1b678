package fault

import (
	"os"
	"testing"

	"github.com/meridian-relay/meridian/internal/program"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	var args []string
	if os.Getenv("MERIDIAN_RACE") != "" { // the processes look for races too, several times slower
		args = append(args, "-race")
	}
	os.Exit(program.Main(m.Run, &binary, args...))
}
