package fault

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/guarantees.md names as shown by a test is shown by a test.
func TestGuaranteesNameTests(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		source.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)(?:/([^`]+))?`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 20 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, n := range names {
		if !strings.Contains(source.String(), "func "+n[1]+"(t *testing.T)") {
			t.Errorf("docs/guarantees.md: there is no %s", n[1])
		}
		if sub := strings.ReplaceAll(n[2], "_", " "); sub != "" && !strings.Contains(source.String(), `"`+sub+`"`) {
			t.Errorf("docs/guarantees.md: %s has no part %q", n[1], sub)
		}
	}
}
