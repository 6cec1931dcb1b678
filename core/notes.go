package core

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/store"
	"github.com/meridian-relay/meridian/relay"
)

// notesName is a file beside the store's own: what a node has to remember of its fleet.
const notesName = "NODE"

// A record is the file's content, in JSON.
type record struct {
	Version int `json:"version"` // 1
	// Begun: what the node began with is durable. From then on the logs' membership counts.
	Begun  bool    `json:"begun"`
	Groups []group `json:"groups"`
	// Plan is the digest of the plan with which this node began, or is to begin. Empty: it joined, or
	// is older than this field.
	Plan string `json:"plan,omitempty"`
	// Places are where namespaces were first put. Their shards own their slots since then, so
	// that another place would be a second owner.
	Places map[relay.Namespace]place `json:"places"`
	// Stores are the stores that nodes had when they were first met. A node that comes with
	// another has lost what it promised, and does not count before it was replaced.
	Stores map[shard.Node]string `json:"stores"`
}

// A place is what a namespace has for good.
type place struct {
	Class shard.Class  `json:"class"`
	Home  relay.Region `json:"home"`
}

// notes is the file. Safe for concurrent use.
type notes struct {
	fs   store.FS
	path string

	mu  sync.Mutex
	now record
}

// openNotes reads the file of a folder; false: there is none.
func openNotes(fsys store.FS, dir string) (*notes, bool, error) {
	n := &notes{fs: fsys, path: fsys.PathJoin(dir, notesName)}
	n.now = record{Version: 1, Stores: make(map[shard.Node]string)}
	raw, err := store.ReadFile(fsys, n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &n.now)
	}
	if err == nil && n.now.Version != 1 {
		err = fmt.Errorf("version %d, this program reads 1; use the version that wrote it, or a later one", n.now.Version)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", n.path, err)
	}
	if n.now.Stores == nil {
		n.now.Stores = make(map[shard.Node]string)
	}
	return n, true, nil
}

// change changes the record and makes that durable before it returns. After an error nothing has
// changed here, though the file may have.
func (n *notes) change(f func(*record)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.now
	next.Places, next.Stores = maps.Clone(n.now.Places), maps.Clone(n.now.Stores)
	f(&next)
	raw, err := json.MarshalIndent(&next, "", "  ")
	if err == nil {
		err = store.ReplaceFile(n.fs, n.path, append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.path, err)
	}
	n.now = next
	return nil
}

// put notes where namespaces are, and refuses to put one elsewhere than before. After an error
// nothing has changed.
func (n *notes) put(all map[relay.Namespace]Namespace) error {
	n.mu.Lock()
	known := n.now.Places
	n.mu.Unlock()
	next := maps.Clone(known)
	for name, ns := range all {
		want := place{ns.Class, ns.Home}
		was, ok := known[name]
		if ok && was != want {
			return fmt.Errorf("namespace %q: class %v at home %q: it began with class %v at home %q, and keeps both; "+
				"write these, or take another name", name, want.Class, want.Home, was.Class, was.Home)
		}
		if next == nil {
			next = make(map[relay.Namespace]place)
		}
		next[name] = want
	}
	if len(next) == len(known) {
		return nil
	}
	return n.change(func(r *record) { r.Places = next })
}

// plan returns the digest of the plan with which this node began, or is to begin.
func (n *notes) plan() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now.Plan
}

// agree settles the plan of a node that has not begun. Until it has made something, another file
// may take the place of the one it was started with: then those who were met before have not
// agreed to it, and have to be met again.
func (n *notes) agree(digest string, made, join bool) error {
	n.mu.Lock()
	begun, was := n.now.Begun, n.now.Plan
	n.mu.Unlock()
	if join {
		digest = "" // the others know better
	}
	switch {
	case begun || was == digest:
		return nil
	case made && was != "":
		return fmt.Errorf("%s: this node began by plan %s, which was cut short, and its settings are plan %s now; "+
			"start it with the nodes, shards and namespaces that it had", n.path, was, digest)
	case made:
		return nil // by a version that noted none
	}
	return n.change(func(r *record) {
		r.Plan, r.Places, r.Stores = digest, nil, make(map[shard.Node]string)
	})
}

func (n *notes) begun() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now.Begun
}

// met judges a node's store: the first one that a node comes with is noted, and others are
// refused unless a group has taken them in, which member says.
func (n *notes) met(node shard.Node, id shard.StoreID, member bool) error {
	n.mu.Lock()
	known := n.now.Stores[node]
	n.mu.Unlock()
	switch {
	case known == id.String():
		return nil
	case known != "" && !member:
		return fmt.Errorf("node %q comes with store %v, and was known with %s: its disk is not what it was; "+
			`take it in anew with "meridian shard replace %s"`, node, id, known, node)
	}
	return n.change(func(r *record) { r.Stores[node] = id.String() })
}

// store returns the store that a node was last met with.
func (n *notes) store(node shard.Node) (id shard.StoreID, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	count, err := hex.Decode(id[:], []byte(n.now.Stores[node]))
	return id, err == nil && count == len(id)
}
