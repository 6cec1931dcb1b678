package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/meridian-relay/meridian"

// A pack is what `go list` tells of a package.
type pack struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// within reports whether path is the one that row names, or in the tree that it names.
func within(path, row string) bool {
	if tree, ok := strings.CutSuffix(row, "..."); ok {
		tree = strings.TrimSuffix(tree, "/")
		return tree == "" || path == tree || strings.HasPrefix(path, tree+"/")
	}
	return path == row
}

func anyWithin(path string, rows []string) bool {
	return slices.ContainsFunc(rows, func(row string) bool { return within(path, row) })
}

// roomOf returns the most specific row for path.
func roomOf(rows []room, path string) (best room, ok bool) {
	for _, r := range rows {
		if within(path, r.path) && len(r.path) >= len(best.path) {
			best, ok = r, true
		}
	}
	return best, ok
}

// ours returns the path inside the module.
func ours(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/")
}

func list(t *testing.T) []pack {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Deps",
		module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packs []pack
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pack
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packs
		} else if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, p)
	}
}

func TestImportTable(t *testing.T) {
	packs := list(t)
	if len(packs) < 3 {
		t.Fatalf("go list names %d packages; it cannot have seen the module", len(packs))
	}
	for _, complaint := range judge(packs) {
		t.Error(complaint)
	}
}

// judge holds the tables against packs.
func judge(packs []pack) (complaints []string) {
	complain := func(parts ...string) { complaints = append(complaints, strings.Join(parts, "")) }
	for _, p := range packs {
		path, ok := ours(p.ImportPath)
		if !ok {
			continue
		}
		row, ok := roomOf(rooms, path)
		if !ok {
			complain(path, ": not in the import table; add a row that says what it may import, and why")
			continue
		}
		for _, imp := range p.Imports {
			to, mine := ours(imp)
			if !mine || anyWithin(to, row.may) || path == to {
				continue
			}
			if target, ok := roomOf(rooms, to); ok && target.path == row.path {
				continue // the same room
			}
			complain(path, ": must not import ", to, ": ", row.why)
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			checkHeavy(path, imp, complain)
		}
		for _, ban := range bans {
			if !within(path, ban.from) {
				continue
			}
			for _, dep := range p.Deps {
				if dep == ban.to || strings.HasPrefix(dep, strings.TrimSuffix(ban.to, "/")+"/") {
					complain(path, ": must not reach ", dep, ": ", ban.why)
				}
			}
		}
	}
	return complaints
}

func checkHeavy(path, imp string, complain func(...string)) {
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return // the standard library
	}
	if _, mine := ours(imp); mine {
		return
	}
	i := slices.IndexFunc(heavies, func(h heavy) bool { return strings.HasPrefix(imp, h.path) })
	switch {
	case i < 0:
		complain(path, ": ", imp, " is no dependency that the table knows; say who owns it, and why")
	case !anyWithin(path, heavies[i].owners):
		complain(path, ": must not import ", imp, ": ", heavies[i].why)
	}
}

// TestJudge breaks each rule once: a table that lets everything through would be no table.
func TestJudge(t *testing.T) {
	for name, tc := range map[string]struct {
		pack pack
		want string
	}{
		"ours":       {pack{ImportPath: module + "/relay/hub", Imports: []string{module + "/edge"}}, "relay/hub: must not import edge: "},
		"sibling":    {pack{ImportPath: module + "/relay/hub", Imports: []string{module + "/relay/link"}}, "relay/hub: must not import relay/link: "},
		"no tree":    {pack{ImportPath: module + "/relay/more"}, "relay/more: not in the import table"},
		"no row":     {pack{ImportPath: module + "/util"}, "util: not in the import table"},
		"heavy":      {pack{ImportPath: module + "/edge", Imports: []string{"github.com/quic-go/quic-go"}}, "edge: must not import github.com/quic-go/quic-go: "},
		"heavy test": {pack{ImportPath: module + "/client", XTestImports: []string{"github.com/quic-go/quic-go"}}, "client: must not import"},
		"unknown":    {pack{ImportPath: module + "/edge", Imports: []string{"github.com/x/y"}}, "edge: github.com/x/y is no dependency"},
		"far":        {pack{ImportPath: module + "/edge", Deps: []string{module + "/core/channel"}}, "edge: must not reach"},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge([]pack{tc.pack})
			if len(got) != 1 || !strings.HasPrefix(got[0], tc.want) {
				t.Errorf("judge: %q, want one that begins %q", got, tc.want)
			}
		})
	}
	fine := pack{ImportPath: module + "/internal/transport", Imports: []string{"net", module + "/relay", "github.com/quic-go/quic-go"}}
	if got := judge([]pack{fine}); len(got) != 0 {
		t.Errorf("judge complains about what is allowed: %q", got)
	}
}
