package core

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/relay"
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

// A namespace keeps its class and home, after a restart too: the shards of another place would own
// the same channels.
func TestNotesKeepPlaces(t *testing.T) {
	dir := t.TempDir()
	n, _, err := openNotes(store.Disk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	begin := map[relay.Namespace]Namespace{"a": {Class: shard.Region, Home: "x"}, "b": {Class: shard.Global, Home: "x"}}
	if err := n.put(begin); err != nil {
		t.Fatal(err)
	}
	if n, _, err = openNotes(store.Disk(), dir); err != nil {
		t.Fatal(err)
	}
	for _, other := range []Namespace{{Class: shard.Region, Home: "x"}, {Class: shard.Global, Home: "y"}} {
		err := n.put(map[relay.Namespace]Namespace{"b": other, "c": {Class: shard.Region, Home: "x"}})
		if err == nil {
			t.Errorf("b went to %v", other)
		}
	}
	delete(begin, "b")
	if err := n.put(begin); err != nil {
		t.Error("one less:", err)
	}
	if err := n.put(map[relay.Namespace]Namespace{"b": {Class: shard.Region, Home: "x"}}); err == nil {
		t.Error("b was forgotten while it was not configured")
	}
	if err := n.put(map[relay.Namespace]Namespace{"c": {Class: shard.Global, Home: "y"}}); err != nil {
		t.Error("nothing was to be known of c:", err)
	}
}

// What could not be written is not known either: a store that was met so would be another one's
// after a restart.
func TestNotesForgetWhatIsNotDurable(t *testing.T) {
	dir := t.TempDir()
	n, _, err := openNotes(store.Disk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.met("n2", shard.StoreID{1}, false); err == nil {
			t.Error("it is met though that is not durable")
		}
	}
	if _, ok := n.store("n2"); ok {
		t.Error("its store is known")
	}
}
