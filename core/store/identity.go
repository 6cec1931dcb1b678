package store

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-relay/meridian/core/shard"
)

// format is the version of the folder: what stands where, and the keys.
const format = 1

// Names in the folder.
const (
	identityName = "IDENTITY"
	lockName     = "LOCK"
	ballastName  = "BALLAST"
	logName      = "log"
	stateName    = "state"
	stagingName  = "staging"
)

// category is what the file system's statistics call our own files.
const category vfs.DiskWriteCategory = "meridian"

// An Identity is what a folder says it is.
type Identity struct {
	Format int
	Fleet  string
	Node   shard.Node
	Store  shard.StoreID
	// Begun: both databases were made. One that is not there then was lost, and with it, maybe,
	// votes and entries that were acknowledged.
	Begun bool
}

func (id *Identity) append(b []byte) []byte {
	b = fmt.Appendf(b, "meridian store %d\nfleet %s\nnode %s\nstore %v\n", id.Format, id.Fleet, id.Node, id.Store)
	if id.Begun {
		b = append(b, "begun\n"...)
	}
	return b
}

// parseIdentity reads what append wrote, or the format alone of a newer one.
func parseIdentity(b []byte) (id Identity, err error) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		word, value, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "meridian":
			id.Format, err = strconv.Atoi(strings.TrimPrefix(value, "store "))
		case "fleet":
			id.Fleet = value
		case "node":
			id.Node = shard.Node(value)
		case "store":
			var n int
			if n, err = hex.Decode(id.Store[:], []byte(value)[:min(len(value), 32)]); n != len(id.Store) {
				err = errors.New("store id is too short")
			}
		case "begun":
			id.Begun = true
		}
		if err != nil || id.Format > format {
			return id, err
		}
	}
	if id.Format == 0 || id.Fleet == "" || id.Node == "" || id.Store == (shard.StoreID{}) {
		return id, errors.New("a line is missing")
	}
	return id, nil
}

// ReadIdentity tells whose folder dir is, without opening the store.
func ReadIdentity(fsys vfs.FS, dir string) (Identity, error) {
	f, err := fsys.Open(fsys.PathJoin(dir, identityName))
	if err != nil {
		return Identity{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return Identity{}, err
	}
	return parseIdentity(b)
}

// identify checks that the folder is ours, or empty: found is false then. It changes nothing.
func (s *Store) identify() (found bool, err error) {
	fsys, dir := s.fs, s.cfg.Dir
	id, err := ReadIdentity(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, CheckEmpty(fsys, dir)
	case err != nil:
		return false, fmt.Errorf("%w: %s: %s cannot be read: %w; give the node a folder of its own, or put the file back",
			ErrForeign, dir, identityName, err)
	case id.Format > format:
		return false, fmt.Errorf("%w: %s: format %d, this program reads up to %d; use the version that wrote it, or a later one",
			ErrNewer, dir, id.Format, format)
	case id.Fleet != s.cfg.Fleet:
		return false, fmt.Errorf("%w: %s: fleet %q, wanted %q; give this node a folder of its own",
			ErrFleet, dir, id.Fleet, s.cfg.Fleet)
	case id.Node != s.cfg.Node:
		return false, fmt.Errorf("%w: %s: node %q, wanted %q; give this node a folder of its own",
			ErrNode, dir, id.Node, s.cfg.Node)
	}
	s.id = id
	return true, nil
}

// CheckEmpty checks that a folder without IDENTITY has nothing in it: ErrForeign.
func CheckEmpty(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s: list folder: %w; check the disk before starting again", ErrDisk, dir, err)
	}
	// lost+found: a disk of its own. The other two are of a first start that was cut short.
	names = slices.DeleteFunc(names, func(n string) bool {
		return n == "lost+found" || n == lockName || n == identityName+".new"
	})
	if len(names) > 0 {
		slices.Sort(names)
		return fmt.Errorf("%w: %s has %q in it and no %s; give the node an empty folder",
			ErrForeign, dir, names[0], identityName)
	}
	return nil
}

// found makes a new store of an empty folder. IDENTITY comes first and whole: a folder without
// it has nothing of ours.
func (s *Store) found() error {
	id := Identity{Format: format, Fleet: s.cfg.Fleet, Node: s.cfg.Node}
	if _, err := rand.Read(id.Store[:]); err != nil {
		return fmt.Errorf("make store id: %w", err)
	}
	return s.putIdentity(id)
}

// begun notes that both databases are there.
func (s *Store) begun() error {
	if s.id.Begun {
		return nil
	}
	id := s.id
	id.Begun = true
	return s.putIdentity(id)
}

// putIdentity writes IDENTITY whole, or leaves it.
func (s *Store) putIdentity(id Identity) error {
	fsys, path := s.fs, s.fs.PathJoin(s.cfg.Dir, identityName)
	if err := writeFile(fsys, path+".new", id.append(nil)); err != nil {
		return s.fault("write "+identityName, err)
	}
	if err := fsys.Rename(path+".new", path); err != nil {
		return s.fault("write "+identityName, err)
	}
	s.id = id
	return s.fault("sync folder", syncDir(fsys, s.cfg.Dir))
}

// lock takes the folder for this process.
func (s *Store) lock() error {
	l, err := s.fs.Lock(s.fs.PathJoin(s.cfg.Dir, lockName))
	var path *fs.PathError
	if errors.As(err, &path) {
		return s.fault("lock folder", err)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: another process has it open; stop that one first", ErrInUse, s.cfg.Dir)
	}
	s.locked = l
	return nil
}

func writeFile(fsys vfs.FS, path string, b []byte) error {
	f, err := fsys.Create(path, category)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes a folder and those above it, durably.
func makeDir(fsys vfs.FS, dir string) error {
	var made []string
	for d := dir; ; d = fsys.PathDir(d) {
		if _, err := fsys.Stat(d); err == nil || d == fsys.PathDir(d) {
			break
		}
		made = append(made, d)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range made {
		if err := syncDir(fsys, fsys.PathDir(d)); err != nil {
			return err
		}
	}
	return nil
}
