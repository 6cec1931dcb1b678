package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/core/nodeapi/nodeapitest"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// member is one of a shard's, as its leader knows it.
func member(n shard.Number, node shard.Node, role string, lag uint64) nodeapi.Member {
	return nodeapi.Member{Number: n, Node: node, Role: role, Progress: &nodeapi.Progress{Match: 100 - lag, Lag: lag, Active: lag < 50}}
}

// replica is a node's of a shard.
func replica(name string, node shard.Node, n shard.Number, state string, members ...nodeapi.Member) nodeapi.Shard {
	if state != leading {
		members = append([]nodeapi.Member(nil), members...)
		for i := range members {
			members[i].Progress = nil
		}
	}
	return nodeapi.Shard{
		Shard: name, Class: "region", Node: node, Number: n, Role: "voter", State: state, Leader: "n1", Term: 7,
		Commit: 100, Applied: 90 + uint64(n), LogBytes: 1234, Members: members,
		Owns: []nodeapi.Slots{{Namespace: "demo", Slots: 4096, Pins: 2}},
	}
}

// A trio is three nodes that are told what to say, and a shell whose context names them.
type trio struct {
	nodes   [3]*nodeapitest.Node
	servers [3]*httptest.Server
}

func newTrio(s *shell) *trio {
	s.t.Helper()
	members := []nodeapi.Member{member(1, "n1", "voter", 0), member(2, "n2", "voter", 3), member(3, "n3", "learner", 60)}
	other := []nodeapi.Member{member(1, "n1", "voter", 0)}
	w := &trio{nodes: [3]*nodeapitest.Node{
		{Name: "n1", Replicas: []nodeapi.Shard{replica("s1", "n1", 1, leading, members...), replica("s10", "n1", 1, leading, other...)}},
		{Name: "n2", Replicas: []nodeapi.Shard{replica("s1", "n2", 2, "following", members...), replica("s2", "n2", 1, "following", other...)}},
		{Name: "n3", Replicas: []nodeapi.Shard{replica("s1", "n3", 3, "following", members...)}},
	}}
	args := []string{"context", "add", "fleet", "--url", "https://127.0.0.1:1", "--select"}
	for i, n := range w.nodes {
		w.servers[i] = httptest.NewServer(nodeapi.NewHandler(n.Name, n))
		s.t.Cleanup(w.servers[i].Close)
		args = append(args, "--node", w.servers[i].URL)
	}
	s.ok("", args...)
	return w
}

// columns are a table's cells, without its head.
func (r result) columns() (rows [][]string) {
	for _, line := range r.lines()[1:] {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}

func (r result) wantRows(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, row := range r.columns() {
		got = append(got, strings.Join(row, " "))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestShardList(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	s.ok("", "shard", "list").wantRows(t,
		"s1 region n1 7 100 60 n1 n2 +n3",
		"s2 region n1 7 100 - n1",
		"s10 region n1 7 100 0 n1")
	list := jsonLines(t, s.ok("", "shards", "ls", "-o", "json").out)
	if len(list) != 3 || list[0]["lag"] != 60.0 || len(list[0]["replicas"].([]any)) != 3 || list[1]["lag"] != nil {
		t.Errorf("JSON: %v", list)
	}

	// Without the leader's node the rest is known still, but how far they are.
	w.servers[0].Close()
	r := s.ok("", "shard", "list")
	r.wantRows(t, "s1 region n1 7 100 - n1 n2 +n3", "s2 region n1 7 100 - n1")
	if !strings.Contains(r.err, "node "+w.servers[0].URL+" does not answer") {
		t.Errorf("stderr %q", r.err)
	}
	w.servers[1].Close()
	w.servers[2].Close()
	s.fails(4, "no node answers", "", "shard", "list")
}

// The leader of the newest term knows, not one that was deposed and has not noticed.
func TestShardListDeposed(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	newer := &w.nodes[1].Replicas[0]
	newer.Term, newer.State, newer.Leader, newer.Commit = 8, leading, "n2", 120
	newer.Members = []nodeapi.Member{member(2, "n2", "voter", 0)}
	if row := s.ok("", "shard", "list").columns()[0]; strings.Join(row, " ") != "s1 region n2 8 120 0 n2" {
		t.Errorf("row %q", row)
	}
}

func TestShardGet(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	w.servers[1].Close()
	r := s.ok("", "shard", "get", "s1")
	for _, want := range []string{
		"s1  region  leader n1, term 7, commit 100\n", "owns 4096 slots of demo, and 2 pinned channels\n",
		"n1     1        voter     leading                   91        100      0     1234\n",
		"n2     2        voter     no answer                 -         97       3     -\n",
		"n3     3        learner   following, not heard of   93        40       60    1234\n",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("prints\n%s\nwithout %q", r.out, want)
		}
	}
	s.fails(1, "shard s7: not found on node n", "", "shard", "get", "s7")
	s.fails(2, "such as s12", "", "shard", "get", "7")
	s.fails(2, `write the URL of its ops listener`, "", "shard", "get", "s1", "--node", "localhost:9090")
	s.ok("", "context", "add", "bare", "--url", "https://127.0.0.1:1")
	s.fails(1, `context "bare" names no nodes`, "", "shard", "get", "s1", "--context", "bare")
	s.with("MERIDIAN_NODES="+w.servers[0].URL+","+w.servers[2].URL).ok("", "shard", "get", "s1", "--context", "bare")
}

func TestShardTransfer(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	s.fails(3, `no voter on node "n3"`, "", "shard", "transfer", "s1", "n3")
	s.fails(3, "s2 has no leader among the nodes that answer", "", "shard", "transfer", "s2", "n1")
	if r := s.ok("", "shard", "transfer", "s1", "n2"); !strings.Contains(r.out, "s1  region  leader n2") {
		t.Errorf("prints %s", r.out)
	}
	if got := w.nodes[0].Replicas[0]; got.Leader != "n2" {
		t.Errorf("the leader's node still says %+v", got)
	}
}

func TestShardReplace(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	s.fails(1, `node "n9": not found`, "", "shard", "replace", "n9")
	w.nodes[0].Steps = []string{"adding", "catching-up", nodeapi.StepDone}
	w.nodes[2].Steps = []string{nodeapi.StepDone} // led before
	r := s.ok("", "shard", "replace", "n2")
	r.wantRows(t, "s1 2 4 done")
	if !strings.Contains(r.err, "1 of 1 shards to go\n") {
		t.Errorf("stderr %q", r.err)
	}
	w.nodes[1].Steps = []string{nodeapi.StepFailed} // it led before, too
	s.ok("", "shard", "replace", "n2").wantRows(t, "s1 2 4 done")
	w.nodes[0].Steps, w.nodes[2].Steps = nil, nil
	s.fails(3, "1 of 1 shards failed", "", "shard", "replace", "n2")

	// A shard that has the node as a member and no leader that tells of it waits.
	w.nodes[0].Steps = []string{nodeapi.StepDone}
	s.ok("", "shard", "replace", "n1", "--wait=false").wantRows(t, "s1 2 4 done", "s2 - - waiting", "s10 - - waiting")
	s.fails(1, "not done within 50ms; the nodes go on", "", "shard", "replace", "n1", "--timeout", "50ms")
}

func TestChannels(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	kept := func(name string, state string, seq int) nodeapi.Channel {
		return nodeapi.Channel{
			Channel: "demo:" + relay.Channel(name), Shard: "s1", Class: "region", Node: "n?", State: state, Leader: "n1",
			Position: nodeapi.Position{Epoch: 1, Seq: relay.Seq(seq)}, First: nodeapi.Position{Epoch: 1, Seq: relay.Seq(1)}, Messages: uint64(seq), Bytes: 10, Used: "2026-01-01T00:00:00Z",
		}
	}
	w.nodes[0].Kept = []nodeapi.Channel{kept("a", leading, 9), kept("b", leading, 4)}
	w.nodes[1].Kept = []nodeapi.Channel{kept("a", "following", 7), kept("c", "following", 5)}
	w.nodes[2].Kept = []nodeapi.Channel{kept("b", "following", 4), kept("c", "following", 6)}
	rows := []string{
		"demo:a s1 region n1 1:9 9 10 2026-01-01T00:00:00Z",
		"demo:b s1 region n1 1:4 4 10 2026-01-01T00:00:00Z",
		"demo:c s1 region n1 1:6 6 10 2026-01-01T00:00:00Z",
	}
	s.ok("", "channel", "list").wantRows(t, rows...)
	s.ok("", "channel", "list", "demo:", "--limit", "2").wantRows(t, rows[:2]...)
	s.ok("", "channel", "list", "demo:c").wantRows(t, rows[2])
	s.ok("", "channel", "list", "x").wantRows(t)
	s.ok("", "channel", "get", "demo:a").wantRows(t,
		"demo:a n? s1 leading 1:9 0 1:1 9 10 2026-01-01T00:00:00Z",
		"demo:a n? s1 following 1:7 2 1:1 7 10 2026-01-01T00:00:00Z")
	s.fails(1, "channel demo:z: not found", "", "channel", "get", "demo:z")
	s.fails(2, "which channel?", "", "channel", "get")
	w.servers[0].Close()
	if r := s.ok("", "channel", "list"); len(r.columns()) != 3 || !strings.Contains(r.err, "does not answer") {
		t.Errorf("without a node: %q, %q", r.out, r.err)
	}
}

// TestChannelListPages: lists longer than a page come whole and in order, from nodes that have
// different parts of them.
func TestChannelListPages(t *testing.T) {
	s := newShell(t)
	w := newTrio(s)
	for i := range 2500 {
		c := nodeapi.Channel{Channel: relay.Channel("demo:" + strings.Repeat("0", 4-len(number(uint64(i)))) + number(uint64(i))), Shard: "s1"}
		for j := range w.nodes {
			if i%(j+2) == 0 || i > 1000*j {
				w.nodes[j].Kept = append(w.nodes[j].Kept, c)
			}
		}
	}
	rows := s.ok("", "channel", "list").columns()
	if len(rows) != 2500 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, row := range rows {
		if !strings.HasSuffix(row[0], number(uint64(i))) {
			t.Fatalf("row %d is %q", i, row)
		}
	}
}
