package core

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
)

// A node that comes with another disk than it had is refused, after a restart too, until a group
// has taken the disk in.
func TestNotesKeepStores(t *testing.T) {
	dir := t.TempDir()
	n, found, err := openNotes(store.Disk(), dir)
	if err != nil || found {
		t.Fatal(found, err)
	}
	first, second := shard.StoreID{1}, shard.StoreID{2}
	if err := n.met("n2", first, false); err != nil {
		t.Fatal(err)
	}
	if n, found, err = openNotes(store.Disk(), dir); err != nil || !found {
		t.Fatal(found, err)
	}
	if err := n.met("n2", first, false); err != nil {
		t.Error(err)
	}
	if err := n.met("n2", second, false); err == nil {
		t.Error("another disk is taken for the first")
	}
	if id, ok := n.store("n2"); !ok || id != first {
		t.Error(id, ok)
	}
	if err := n.met("n2", second, true); err != nil {
		t.Error(err)
	}
	if err := n.met("n2", first, false); err == nil {
		t.Error("the first disk came back")
	}
}

func TestNotesOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, notesName), []byte(`{"version": 2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openNotes(store.Disk(), dir); err == nil {
		t.Error("version 2 was read")
	}
}
