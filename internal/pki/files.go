package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of an authority, in its folder. A process's are NAME.pem and NAME.key.
const (
	AuthorityFile    = "ca.pem"
	AuthorityKeyFile = "ca.key"
)

// ErrExists: a file is there already, and is not overwritten.
var ErrExists = errors.New("exists")

// Init makes an authority in dir, which it makes too. It overwrites nothing: ErrExists.
func Init(dir, fleet string, now time.Time) (*Authority, error) {
	a, err := NewAuthority(fleet, now)
	if err != nil {
		return nil, err
	}
	cert, key, err := a.Marshal()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return a, create(dir, "ca", cert, key)
}

// Open reads the authority in dir.
func Open(dir string) (*Authority, error) {
	certPath, keyPath := filepath.Join(dir, AuthorityFile), filepath.Join(dir, AuthorityKeyFile)
	cert, err := os.ReadFile(certPath)
	if err == nil {
		var key []byte
		if key, err = os.ReadFile(keyPath); err == nil {
			a, err := ParseAuthority(cert, key)
			if err != nil {
				return nil, fmt.Errorf("authority %s with key %s: %w", certPath, keyPath, err)
			}
			return a, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no authority in %s: %w; make one with `meridian pki init`, or name its folder with --dir", dir, err)
	}
	return nil, err
}

// Save writes a process's files to dir: ErrExists if one is there, unless replace.
func (l *Leaf) Save(dir, name string, replace bool) error {
	if strings.EqualFold(name, "ca") {
		return fmt.Errorf("name %q: the authority's files are called so; choose another", name)
	}
	if !replace {
		return create(dir, name, l.Cert, l.Key)
	}
	for _, f := range files(dir, name, l.Cert, l.Key) {
		// Who reads meanwhile sees the old file or the new one, whole.
		if err := os.WriteFile(f.path+".new", f.data, f.mode); err != nil {
			return err
		}
		if err := os.Rename(f.path+".new", f.path); err != nil {
			return err
		}
	}
	return nil
}

type file struct {
	path string
	data []byte
	mode fs.FileMode
}

// files are a key's and a certificate's. The key comes first, and is its owner's alone.
func files(dir, name string, cert, key []byte) []file {
	return []file{
		{filepath.Join(dir, name+".key"), key, 0o600},
		{filepath.Join(dir, name+".pem"), cert, 0o644},
	}
}

// create writes both files, or none.
func create(dir, name string, cert, key []byte) error {
	list := files(dir, name, cert, key)
	for _, f := range list {
		if _, err := os.Lstat(f.path); err == nil {
			return fmt.Errorf("%s: %w; it is not overwritten", f.path, ErrExists)
		}
	}
	for i, f := range list {
		if err := createFile(f); err != nil {
			for _, made := range list[:i] {
				os.Remove(made.path)
			}
			return err
		}
	}
	return nil
}

func createFile(f file) error {
	// O_EXCL: not even through a link that someone puts there now.
	w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(f.data).WriteTo(w)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		os.Remove(f.path)
	}
	return err
}
