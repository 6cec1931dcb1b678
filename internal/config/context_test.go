package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestContexts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "meridian")
	c, err := OpenContexts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(""); !errors.Is(err, ErrNoneSelected) {
		t.Errorf("none selected: %v", err)
	}
	want := Context{Name: "dev", URL: "https://127.0.0.1:4433", Token: "t", CertHashes: []string{"ab"}}
	if err := c.Add(want); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(want); !errors.Is(err, ErrExists) {
		t.Errorf("added twice: %v", err)
	}
	if err := c.Put(Context{Name: "prod", URL: "https://x"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Select("dev"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(""); err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("selected: %+v, %v", got, err)
	}
	if names, _ := c.Names(); !slices.Equal(names, []string{"dev", "prod"}) {
		t.Errorf("names %q", names)
	}
	if _, err := c.Get("stage"); !errors.Is(err, ErrNoContext) || !strings.Contains(err.Error(), "there are dev, prod") {
		t.Errorf("unknown: %v", err)
	}
	if err := c.Select("stage"); !errors.Is(err, ErrNoContext) {
		t.Errorf("select unknown: %v", err)
	}
	for _, bad := range []string{"", "../x", "a/b", ".x", "a b", strings.Repeat("x", 65)} {
		if err := c.Put(Context{Name: bad}); err == nil {
			t.Errorf("name %q accepted", bad)
		}
		if err := c.Remove(bad); err == nil {
			t.Errorf("name %q removed", bad)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v; others can read it", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Remove("dev"); err != nil {
		t.Fatal(err)
	}
	if selected, err := c.Selected(); selected != "" || err != nil {
		t.Errorf("after removal %q is selected, %v", selected, err)
	}
	if err := c.Remove("dev"); !errors.Is(err, ErrNoContext) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestDamagedContext(t *testing.T) {
	c, _ := OpenContexts(t.TempDir())
	if err := c.Put(Context{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file("x"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get("x"); err == nil || !strings.Contains(err.Error(), "meridian context rm x") {
		t.Errorf("%v does not say how to mend it", err)
	}
}
