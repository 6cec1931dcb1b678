package house

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Lengths of files, in lines: what a reader holds in mind at once.
const (
	medianBelow = 150
	mostBelow   = 400 // nine in ten
	noneAbove   = 600
)

// source reports whether a person wrote and reads the file.
func source(path string, content []byte) bool {
	switch filepath.Ext(path) {
	case ".go", ".ts", ".js", ".proto":
	default:
		return false
	}
	head, _, _ := bytes.Cut(content, []byte("\npackage "))
	return !bytes.Contains(head, []byte("DO NOT EDIT"))
}

func TestFileLengths(t *testing.T) {
	root := filepath.Join("..", "..")
	lengths := make(map[string]int)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "node_modules", "testdata", "dist"}, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // an editor's file that went away
		}
		if err != nil {
			return err
		}
		if source(path, content) {
			lengths[strings.TrimPrefix(path, root+"/")] = bytes.Count(content, []byte("\n"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range tooLong(lengths) {
		t.Error(complaint)
	}
}

func tooLong(lengths map[string]int) (complaints []string) {
	var sorted []int
	for path, n := range lengths {
		sorted = append(sorted, n)
		if n > noneAbove {
			complaints = append(complaints, fmt.Sprintf("%s has %d lines; at most %d: split it by what it is about", path, n, noneAbove))
		}
	}
	if len(sorted) == 0 {
		return []string{"no files found"}
	}
	slices.Sort(sorted)
	if median := sorted[len(sorted)/2]; median >= medianBelow {
		complaints = append(complaints, fmt.Sprintf("the median file has %d lines; below %d", median, medianBelow))
	}
	if nine := sorted[(len(sorted)-1)*9/10]; nine >= mostBelow {
		complaints = append(complaints, fmt.Sprintf("nine files in ten have up to %d lines; below %d", nine, mostBelow))
	}
	return complaints
}

func TestTooLong(t *testing.T) {
	for name, tc := range map[string]struct {
		lengths map[string]int
		want    int
	}{
		"none":   {nil, 1},
		"fine":   {map[string]int{"a": 10, "b": 20, "c": 590}, 0},
		"long":   {map[string]int{"a": 10, "b": 20, "c": 601}, 1},
		"median": {map[string]int{"a": 10, "b": 150, "c": 300}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tooLong(tc.lengths); len(got) != tc.want {
				t.Errorf("%d complaints %q, want %d", len(got), got, tc.want)
			}
		})
	}
}
