package e2e

import (
	"os"
	"testing"

	"github.com/meridian-relay/meridian/internal/program"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m.Run, &binary)) }
