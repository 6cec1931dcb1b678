package pki

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]Name{
		"spiffe://prod/node/n1":              {"prod", Node, "n1"},
		"spiffe://eu.example.com/edge/E-1_x": {"eu.example.com", Edge, "E-1_x"},
	} {
		n, ok := Parse(uri)
		if !ok || n != want || n.String() != uri {
			t.Errorf("%s: %+v, %v", uri, n, ok)
		}
	}
	for _, uri := range []string{
		"", "spiffe://", "spiffe://prod", "spiffe://prod/node", "spiffe://prod/node/", "spiffe://prod/node/a/b",
		"spiffe://Prod/node/n1", "spiffe:///node/n1", "spiffe://prod/admin/n1", "spiffe://prod/node/..",
		"spiffe://prod/node/n 1", "spiffe://prod/node/n1?x", "https://prod/node/n1", "spiffe://u@prod/node/n1",
		"spiffe://prod/node/" + strings.Repeat("n", 64), "spiffe://" + strings.Repeat("f", 256) + "/node/n1",
	} {
		if n, ok := Parse(uri); ok {
			t.Errorf("%s is %+v", uri, n)
		}
	}
}

func TestIsNode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"spiffe://prod/node/n1"}, true},
		{[]string{"spiffe://prod/node/n1", "host.example"}, true},
		{[]string{"n1"}, true}, // of an authority that knows no URIs
		{[]string{"other", "n1"}, true},
		{nil, false},
		{[]string{"n2"}, false},
		{[]string{"spiffe://prod/node/n2"}, false},
		{[]string{"spiffe://other/node/n1"}, false},
		{[]string{"spiffe://prod/edge/n1"}, false},
		// An edge or another node that may be reached under the node's name is not the node.
		{[]string{"spiffe://prod/edge/e1", "n1"}, false},
		{[]string{"n1", "spiffe://prod/node/n2"}, false},
		{[]string{"spiffe://prod/node/n2", "spiffe://prod/node/n1"}, false},
		{[]string{"spiffe://prod/strange", "n1"}, false},
	} {
		if got := IsNode(c.names, "prod", "n1"); got != c.want {
			t.Errorf("%q: %v, want %v", c.names, got, c.want)
		}
	}
}
