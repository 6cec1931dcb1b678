package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A build that fails runs nothing, and leaves nothing behind.
func TestMainThatFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var binary string
	code := Main(func() int { t.Error("run"); return 0 }, &binary, "-no-such-flag")
	if left, err := os.ReadDir(dir); code == 0 || err != nil || len(left) > 0 {
		t.Errorf("code %d, left %v, %v", code, left, err)
	}
	err := Build(filepath.Join(dir, "meridian"), "-no-such-flag")
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("error %v: does not say what Go said", err)
	}
}
