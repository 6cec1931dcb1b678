package nodeapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/nodeapi/nodeapitest"
	"github.com/meridian-relay/meridian/relay"
)

// serve serves n on loopback.
func serve(t *testing.T, n *nodeapitest.Node) (*httptest.Server, *nodeapi.Client) {
	t.Helper()
	s := httptest.NewServer(nodeapi.NewHandler(n.Name, n))
	t.Cleanup(s.Close)
	c, err := nodeapi.NewClient(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func someShards(n int) (list []nodeapi.Shard) {
	for i := range n {
		list = append(list, nodeapi.Shard{
			Shard: fmt.Sprintf("s%d", i+1), Class: "region", Node: "n1", Number: 1, Role: "voter", State: "leading", Leader: "n1",
			Term: 3, Commit: 9, Applied: 9,
			Members: []nodeapi.Member{{Number: 1, Node: "n1", Role: "voter", Progress: &nodeapi.Progress{Match: 9, Active: true}}, {Number: 2, Node: "n2", Role: "voter"}},
		})
	}
	return list
}

// What a node says arrives as it said it, over as many pages as that takes.
func TestLists(t *testing.T) {
	n := &nodeapitest.Node{Name: "n1", Replicas: someShards(2500)}
	for i := range 250 {
		n.Kept = append(n.Kept, nodeapi.Channel{Channel: relay.Channel(fmt.Sprintf("demo:%03d?#/ü", i)), Shard: "s1", Position: nodeapi.Position{Epoch: 1, Seq: 7}})
	}
	_, c := serve(t, n)
	name, shards, err := c.Shards(t.Context())
	if err != nil || name != "n1" || !reflect.DeepEqual(shards, n.Replicas) {
		t.Errorf("%d shards of %q, %v", len(shards), name, err)
	}
	if n.Asked() != 3 {
		t.Errorf("asked %d times for 2,500 shards", n.Asked())
	}
	var all []nodeapi.Channel
	for after := relay.Channel(""); ; {
		list, next, err := c.Channels(t.Context(), "demo:", after, 99)
		if err != nil || len(list) > 99 {
			t.Fatalf("%d channels, %v", len(list), err)
		}
		if all = append(all, list...); next == "" {
			break
		}
		after = next
	}
	if !slices.Equal(all, n.Kept) {
		t.Errorf("%d channels", len(all))
	}
	got, err := c.Channel(t.Context(), n.Kept[3].Channel)
	if err != nil || got != n.Kept[3] {
		t.Errorf("%+v, %v", got, err)
	}
	if s, err := c.Shard(t.Context(), 17); err != nil || s.Shard != "s17" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestChanges(t *testing.T) {
	n := &nodeapitest.Node{Name: "n1", Replicas: someShards(2), Steps: []string{"adding", nodeapi.StepDone}}
	_, c := serve(t, n)
	if _, err := c.Transfer(t.Context(), 1, "n9"); !errors.Is(err, nodeapi.ErrConflict) || !strings.Contains(err.Error(), `no voter on node "n9"`) {
		t.Errorf("to a node without a voter: %v", err)
	}
	if s, err := c.Transfer(t.Context(), 1, "n2"); err != nil || s.Leader != "n2" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Transfer(t.Context(), 1, "n2"); !errors.Is(err, nodeapi.ErrNotLeader) {
		t.Errorf("of a shard that is led elsewhere: %v", err)
	}
	if _, err := c.Transfer(t.Context(), 99, "n2"); !errors.Is(err, nodeapi.ErrNotFound) {
		t.Errorf("of a shard that is elsewhere: %v", err)
	}
	for _, want := range n.Steps {
		if list, err := c.Replace(t.Context(), "n2"); err != nil || len(list) != 1 || list[0].Step != want {
			t.Errorf("replace: %+v, %v; want %s", list, err, want)
		}
	}
}

// Requests that make no sense are refused with what to write, before the node is asked.
func TestBadRequests(t *testing.T) {
	n := &nodeapitest.Node{Name: "n1", Replicas: someShards(1), Steps: []string{"adding"}}
	s, _ := serve(t, n)
	const kind = "application/json"
	for _, c := range []struct {
		method, path, kind, host, body string
		status                         int
		want                           string
	}{
		{"GET", "/v1/shards?limit=0", "", "", "", 400, "from 1 to 1000"},
		{"GET", "/v1/shards?limit=1001", "", "", "", 400, "from 1 to 1000"},
		{"GET", "/v1/shards?after=x", "", "", "", 400, "such as s12"},
		{"GET", "/v1/shards?prefix=x", "", "", "", 400, "there are limit, after"},
		{"GET", "/v1/shards?limit=1&limit=2", "", "", "", 400, "give it once"},
		{"GET", "/v1/shards?a=%zz", "", "", "", 400, "query"},
		{"GET", "/v1/shards/12", "", "", "", 400, "such as s12"},
		{"GET", "/v1/shards/s7", "", "", "", 404, "not found on node n1"},
		{"GET", "/v1/channels/nonsense", "", "", "", 400, "nonsense"},
		{"GET", "/v1/else", "", "", "", 404, "docs/nodes.md"},
		{"DELETE", "/v1/shards/s1", kind, "", "", 404, "no route DELETE"},
		{"GET", "/v1/shards", "", "evil.example", "", 403, "not this machine's"},
		{"POST", "/v1/shards/s1/transfer", kind, "evil.example:80", `{"to":"n2"}`, 403, "not this machine's"},
		{"POST", "/v1/shards/s1/transfer", "text/plain", "", `{"to":"n2"}`, 415, "send application/json"},
		{"POST", "/v1/shards/s1/transfer", "", "", `{"to":"n2"}`, 415, "send application/json"},
		{"POST", "/v1/shards/s1/transfer", kind, "", ``, 400, "JSON object"},
		{"POST", "/v1/shards/s1/transfer", kind, "", `{}`, 400, "which node"},
		{"POST", "/v1/shards/s1/transfer", kind, "", `{"to":"n2","x":1}`, 400, `unknown field "x"`},
		{"POST", "/v1/shards/s1/transfer", kind, "", `{"to":"n2"}{}`, 400, "more than one"},
		{"POST", "/v1/shards/s1/transfer", kind, "", `{"to":"` + strings.Repeat("x", 5000) + `"}`, 400, "too large"},
		{"POST", "/v1/nodes/n2/replace", kind, "", `{"x":1}`, 400, `unknown field "x"`},
	} {
		before := n.Asked()
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if r.Host = c.host; c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		got := resp.Header.Get("Content-Type")
		if resp.StatusCode != c.status || !strings.Contains(strings.ReplaceAll(string(b), `\"`, `"`), c.want) || got != "application/problem+json" {
			t.Errorf("%s %s %.40s: status %d, %s: %s; want %d and %q", c.method, c.path, c.body, resp.StatusCode, got, b, c.status, c.want)
		}
		if n.Asked() != before && c.status != 404 {
			t.Errorf("%s %s: the node was asked", c.method, c.path)
		}
	}
}

// What changes something is taken on loopback alone; without a local address nothing is.
func TestChangesOnLoopbackOnly(t *testing.T) {
	n := &nodeapitest.Node{Name: "n1", Replicas: someShards(1)}
	h := nodeapi.NewHandler("n1", n)
	r := httptest.NewRequest("POST", "http://10.0.0.1:9090/v1/shards/s1/transfer", strings.NewReader(`{"to":"n2"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 403 || n.Asked() > 0 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// A node's errors arrive as the same errors.
func TestErrors(t *testing.T) {
	n := &nodeapitest.Node{Name: "n1", Replicas: someShards(1)}
	s, c := serve(t, n)
	for _, want := range []error{nodeapi.ErrNotFound, nodeapi.ErrNotLeader, nodeapi.ErrConflict, nodeapi.ErrUnavailable} {
		n.Err = fmt.Errorf("shard s1: %w: because", want)
		if _, err := c.Shard(t.Context(), 1); !errors.Is(err, want) || err.Error() != n.Err.Error() {
			t.Errorf("%v; want %v", err, n.Err)
		}
	}
	n.Err = errors.New("the disk")
	var p *nodeapi.Problem
	if _, err := c.Shard(t.Context(), 1); !errors.As(err, &p) || p.Status != 500 || p.Unwrap() != nil {
		t.Errorf("a fault: %v", err)
	}
	s.Config.Handler = http.NotFoundHandler()
	if _, err := c.Shard(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "is it the ops listener of a node?") {
		t.Errorf("another server: %v", err)
	}
	for _, bad := range []string{"", "127.0.0.1:9090", "ftp://x", "http://", "http://u@h", "http://h/path", "http://h?x=1", "http://h#x"} {
		if _, err := nodeapi.NewClient(bad, nil); err == nil {
			t.Errorf("URL %q is taken", bad)
		}
	}
}

// An answer without an end, or a list that never ends, is given up.
func TestHostileNode(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/shards" {
			fmt.Fprintf(w, `{"node":"n1","list":[],"next":%q}`, "s5")
			return
		}
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	c, err := nodeapi.NewClient(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Shards(t.Context()); err == nil || !strings.Contains(err.Error(), "come to an end") {
		t.Errorf("a list without an end: %v", err)
	}
	if _, err := c.Shard(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an answer without an end: %v", err)
	}
}
