package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/internal/token"
)

// pages are those whose code is run; paths below docs/.
var pages = []string{"quickstart.md", "clients/javascript.md", "clients/go.md", "tokens.md", "http-api.md"}

// repository is its root, absolute.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// A block is fenced code.
type block struct {
	page string // below the repository
	line int    // of its first line
	lang string
	code string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// blocks returns a page's fenced code, in order.
func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t), "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(text), "\n") {
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{page: "docs/" + page, line: i + 2, lang: lang}
		case fence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.code += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%v: the block is not closed", open)
	}
	return all
}

// TestDocs runs the code of the documentation against a relay, page by page, as it is written but
// for the relay's ports. What is not meant to run has another language: text, html, yaml, json.
func TestDocs(t *testing.T) {
	for _, page := range pages {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			var script, pieces []block
			ran := 0
			for i, b := range blocks(t, page) {
				switch b.lang {
				case "sh":
					out := d.shell(b)
					if all := blocks(t, page); i+1 < len(all) && all[i+1].lang == "json" && all[i+1].line == b.line+strings.Count(b.code, "\n")+2 {
						sameAnswer(t, all[i+1], out)
					}
				case "js", "ts":
					script = append(script, b)
				case "go":
					if strings.HasPrefix(b.code, "package ") {
						d.goProgram(b)
					} else {
						pieces = append(pieces, b)
					}
				case "text", "html", "yaml", "json":
					continue
				default:
					t.Errorf("%v: language %q is neither run nor known as one that is not", b, b.lang)
				}
				ran++
			}
			if len(script) > 0 {
				d.module(script)
			}
			if len(pieces) > 0 {
				d.goPieces(pieces)
			}
			if ran == 0 {
				t.Error("no code was run")
			}
		})
	}
}

// A desk is where somebody sits who follows a page: a folder, a relay, a terminal.
type desk struct {
	t      *testing.T
	shells *shell
	dir    string
	ports  *strings.Replacer
	env    []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	s := newShell(t)
	_, r := s.dev()
	d := &desk{t: t, shells: s, dir: t.TempDir()}
	d.ports = strings.NewReplacer("https://127.0.0.1:4433", r.URL, "http://127.0.0.1:8080", r.HTTP, "http://127.0.0.1:9090", r.Ops)
	bin := filepath.Join(d.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "meridian")); err != nil {
		t.Fatal(err)
	}
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MERIDIAN_") }) // they would be settings
	d.env = append(environ, "HOME="+s.dir, "MERIDIAN_CONFIG_DIR="+s.dir, "PATH="+bin+":"+os.Getenv("PATH"),
		"TOKEN="+strings.TrimSpace(s.ok("", "token").out))
	for _, name := range []string{"GOCACHE", "GOPATH", "GOMODCACHE"} { // they follow HOME
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		d.env = append(d.env, name+"="+strings.TrimSpace(string(out)))
	}
	return d
}

// run runs a command in dir and returns what it printed.
func (d *desk) run(what fmt.Stringer, dir, name string, args ...string) []byte {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 3*patience) // a compiler may be cold
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, d.env
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		d.t.Errorf("%v: %v\n%s%s", what, err, out, complaints.Bytes())
	}
	return out
}

// write writes a file, with the ports of the desk's relay, and returns its path.
func (d *desk) write(name, content string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(d.ports.Replace(content)), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// shell runs b in a shell that knows the variables of the ones before.
func (d *desk) shell(b block) []byte {
	d.t.Helper()
	script := "if [ -e .variables ]; then . ./.variables; fi\n" + b.code +
		"\ndeclare -p | grep -E '^declare -[-x]+ [A-Z]+=' | grep -vE ' (BASH|IFS|OPT|PWD|SHLVL)' > .variables\n"
	return d.run(b, d.dir, "bash", "-eu", "-o", "pipefail", d.write(fmt.Sprintf("block-%d.sh", b.line), script))
}

// goProgram runs b, a whole program.
func (d *desk) goProgram(b block) {
	d.t.Helper()
	file := d.write(fmt.Sprintf("go-%d/main.go", b.line), b.code)
	program := strings.TrimSuffix(file, ".go")
	// Built in the repository, for its module; run where the reader's files are.
	d.run(b, repository(d.t), "go", "build", "-o", program, file)
	if !d.t.Failed() {
		d.checkTokens(b, d.run(b, d.dir, program))
	}
}

// goPieces runs all, each statements of a function that has ctx and c, a client. Imports stand
// first in a piece.
func (d *desk) goPieces(all []block) {
	d.t.Helper()
	imports := regexp.MustCompile(`(?m)^import (.*)\n`)
	var packages, calls, pieces strings.Builder
	for _, b := range all {
		for _, m := range imports.FindAllStringSubmatch(b.code, -1) {
			packages.WriteString(m[1] + "\n")
		}
		fmt.Fprintf(&calls, "piece%d,\n", b.line)
		fmt.Fprintf(&pieces, "func piece%d(ctx context.Context, c *client.Client) error {\n//line %s\n%s\nreturn nil\n}\n",
			b.line, b, imports.ReplaceAllString(b.code, "\n"))
	}
	d.goProgram(block{all[0].page, all[0].line, "go", fmt.Sprintf(goProgram, packages.String(), calls.String(), pieces.String())})
}

const goProgram = `package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
%s)

var (
	_ = errors.Is
	_ = fmt.Sprint
	_ = relay.StartLive
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, "http://127.0.0.1:8080", client.Config{Token: os.Getenv("TOKEN")})
	if err != nil {
		log.Fatal(err)
	}
	for _, piece := range []func(context.Context, *client.Client) error{
%s	} {
		if err := piece(ctx, c); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

%s`

// module runs a page's blocks as one module, and checks its types if they have any.
func (d *desk) module(all []block) {
	d.t.Helper()
	root := repository(d.t)
	node, err := exec.CommandContext(d.t.Context(), filepath.Join(root, "scripts", "node")).Output()
	if err != nil {
		d.t.Skipf("left out: the code of %s: no Node that runs TypeScript; scripts/node says more", all[0].page)
	}
	program := strings.TrimSpace(string(node))
	sdk := filepath.Join(root, "client", "js")
	// The package as it is published, but from its sources.
	d.write("node_modules/@meridian-relay/client/package.json", `{"name": "@meridian-relay/client", "type": "module", "exports": "./src/index.ts"}`)
	d.write("package.json", `{"type": "module"}`)
	if err := os.Symlink(filepath.Join(sdk, "src"), filepath.Join(d.dir, "node_modules/@meridian-relay/client/src")); err != nil {
		d.t.Fatal(err)
	}
	var code strings.Builder
	for _, b := range all { // lines of the module are those of the page
		code.WriteString(strings.Repeat("\n", b.line-1-strings.Count(code.String(), "\n")) + b.code)
	}
	file := d.write("page."+all[0].lang, code.String())
	if all[0].lang == "ts" {
		config, err := json.Marshal(map[string]any{
			"extends":         filepath.Join(sdk, "tsconfig.json"),
			"compilerOptions": map[string]any{"noUnusedLocals": false, "typeRoots": []string{filepath.Join(sdk, "node_modules/@types")}},
			"files":           []string{file},
			"include":         []string{},
		})
		if err != nil {
			d.t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(sdk, "node_modules/typescript")); err != nil {
			d.t.Logf("left out: the types of %s: TypeScript is not installed", all[0].page)
		} else {
			d.write("tsconfig.json", string(config))
			d.run(all[0], d.dir, program, filepath.Join(sdk, "node_modules/typescript/bin/tsc"), "-p", ".")
		}
	}
	d.checkTokens(all[0], d.run(all[0], d.dir, program, "--disable-warning=ExperimentalWarning", file))
}

// checkTokens verifies what code printed, where it printed tokens, as an edge would with keys.json.
func (d *desk) checkTokens(b block, out []byte) {
	d.t.Helper()
	keys := filepath.Join(d.dir, "keys.json")
	if _, err := os.Stat(keys); err != nil {
		return
	}
	verifier, err := token.New(token.Config{Issuers: []token.Issuer{{Name: "https://auth.example.com", Audience: "chat", JWKSFile: keys}}})
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		grant, end := verifier.Verify(strings.TrimSpace(line))
		if end.Code != 0 || grant.Subject != "alice" || len(grant.Capabilities) == 0 {
			d.t.Errorf("%v: token %q: %v %s; %+v", b, line, end.Code, end.Detail, grant)
		}
	}
	if len(out) == 0 {
		d.t.Errorf("%v: no token was printed", b)
	}
}

// volatile is what differs from one run to the next: epochs and times.
var volatile = regexp.MustCompile(`\b1\d{12}\b|\d{4}-\d\d-\d\dT[\d:.]+Z`)

// sameAnswer holds the answer that a page shows against the one that came.
func sameAnswer(t *testing.T, shown block, came []byte) {
	t.Helper()
	var want, got bytes.Buffer
	if err := json.Compact(&want, []byte(shown.code)); err != nil {
		t.Errorf("%v: %v", shown, err)
		return
	}
	if err := json.Compact(&got, came); err != nil {
		t.Errorf("%v: %v: %s", shown, err, came)
		return
	}
	if w, g := volatile.ReplaceAll(want.Bytes(), []byte("…")), volatile.ReplaceAll(got.Bytes(), []byte("…")); !bytes.Equal(w, g) {
		t.Errorf("%v: the answer is\n%s, the page shows\n%s", shown, g, w)
	}
}
