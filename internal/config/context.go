package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Context says where client commands connect, and as whom.
type Context struct {
	Name string `json:"-"`
	// URL of a relay: https://HOST:PORT, or http://HOST:PORT on loopback (WebSocket only).
	URL string `json:"url"`
	// Token is a token, TokenCommand a shell command that prints one; at most one of them.
	Token        string `json:"token,omitempty"`
	TokenCommand string `json:"token_command,omitempty"`
	// CertHashes are SHA-256 digests of certificates to trust, in hexadecimal; CA is a file of
	// certificates in PEM. Neither: what the system trusts.
	CertHashes []string `json:"cert_hashes,omitempty"`
	CA         string   `json:"ca,omitempty"`
	// Nodes are the URLs of nodes' ops listeners, http://HOST:PORT, for commands about shards.
	Nodes []string `json:"nodes,omitempty"`
	// Signing is the secret with which a development relay's tokens are made; empty elsewhere.
	Signing string `json:"signing,omitempty"`
}

// Contexts is a folder of contexts, one of them selected. Files are readable by their owner
// alone, since tokens stand in them.
type Contexts struct {
	dir string
}

// OpenContexts returns the contexts in dir. An empty dir is `meridian` in the user's
// configuration folder.
func OpenContexts(dir string) (*Contexts, error) {
	if dir == "" {
		user, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("no folder for contexts: %w; set MERIDIAN_CONFIG_DIR", err)
		}
		dir = filepath.Join(user, "meridian")
	}
	return &Contexts{dir: dir}, nil
}

// ErrNoContext is wrapped where a context is wanted that does not exist.
var ErrNoContext = errors.New("no such context")

// ErrNoneSelected is returned where a context is wanted, not named, and none is selected.
var ErrNoneSelected = errors.New("no context is selected; start `meridian dev`, or use `meridian context add` and `context select`, or --url")

// ErrExists is wrapped where a context exists already.
var ErrExists = errors.New("context exists")

func (c *Contexts) file(name string) string {
	return filepath.Join(c.dir, "contexts", name+".json")
}

// CheckContextName checks a name: it becomes a file's.
func CheckContextName(name string) error {
	ok := name != "" && len(name) <= 64 && name[0] != '.'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	if !ok {
		return fmt.Errorf("context name %q: use 1 to 64 letters, digits, -, _ and . (not first)", name)
	}
	return nil
}

// Get returns the context called name, or, where name is empty, the selected one.
func (c *Contexts) Get(name string) (*Context, error) {
	if name == "" {
		selected, err := c.Selected()
		if err != nil {
			return nil, err
		}
		if selected == "" {
			return nil, ErrNoneSelected
		}
		name = selected
	}
	if err := CheckContextName(name); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(c.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		known := "there are none; `meridian context add` makes one"
		if names, err := c.Names(); err == nil && len(names) > 0 {
			known = "there are " + strings.Join(names, ", ")
		}
		return nil, fmt.Errorf("context %q: %w; %s", name, ErrNoContext, known)
	} else if err != nil {
		return nil, fmt.Errorf("context %q: %w", name, err)
	}
	x := &Context{}
	if err := json.Unmarshal(raw, x); err != nil {
		return nil, fmt.Errorf("context %q: %s is damaged: %w; remove it with `meridian context rm %s`", name, c.file(name), err, name)
	}
	x.Name = name
	return x, nil
}

// Put writes x. It replaces a context of that name.
func (c *Contexts) Put(x Context) error {
	if err := CheckContextName(x.Name); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	return c.write(c.file(x.Name), append(raw, '\n'))
}

// Add writes x; ErrExists where there is a context of that name.
func (c *Contexts) Add(x Context) error {
	if err := CheckContextName(x.Name); err != nil {
		return err
	}
	if _, err := os.Stat(c.file(x.Name)); err == nil {
		return fmt.Errorf("%w: %q; remove it first, or choose another name", ErrExists, x.Name)
	}
	return c.Put(x)
}

// Remove removes a context; if it was the selected one, none is.
func (c *Contexts) Remove(name string) error {
	if err := CheckContextName(name); err != nil {
		return err
	}
	if err := os.Remove(c.file(name)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("context %q: %w", name, ErrNoContext)
	} else if err != nil {
		return err
	}
	if selected, err := c.Selected(); err != nil || selected != name {
		return err
	}
	return os.Remove(filepath.Join(c.dir, "selected"))
}

// Names lists the contexts.
func (c *Contexts) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(c.dir, "contexts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && CheckContextName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Selected returns the selected context's name; "" if none is.
func (c *Contexts) Selected() (string, error) {
	raw, err := os.ReadFile(filepath.Join(c.dir, "selected"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(raw)), err
}

// Select selects a context that exists.
func (c *Contexts) Select(name string) error {
	if _, err := c.Get(name); err != nil {
		return err
	}
	return c.write(filepath.Join(c.dir, "selected"), []byte(name+"\n"))
}

// write replaces the file at once, so that a reader sees the old or the new whole.
func (c *Contexts) write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = cmp.Or(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
